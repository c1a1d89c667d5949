"""POST /v1/acoustic-maps: the maps themselves, as arrays and as pictures, and what the service says of itself."""

import io
import json
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load as load_safetensors

from service.app import create_app
from service.models.acoustic_maps.answers import FORMATS
from tests import pictures, sounds, tiny, tiny_maps
from tests.api.conftest import MakeSettings, in_memory

ROUTE = "/v1/acoustic-maps"
BANDS = np.array(tiny_maps.BANDS)
GREY = 102  # 0.4
ROOM = [pictures.encoded(pictures.grey(GREY, 320, 320))] * 4  # square pictures, so that they see floor and ceiling

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def client(shared_client: httpx.AsyncClient) -> httpx.AsyncClient:
    return shared_client


async def post(
    client: httpx.AsyncClient,
    images: list[bytes],
    query: str = "",
    *,
    accept: str = "*/*",
    audio: bytes | None = None,
    fields: dict[str, Any] | None = None,
) -> httpx.Response:
    answer = await client.post(
        ROUTE + query, files=pictures.form(images, audio), data=fields, headers={"Accept": accept}
    )
    assert answer.status_code == 200, answer.text
    return answer


async def arrays(client: httpx.AsyncClient, images: list[bytes], query: str = "", **options: Any) -> dict[str, Any]:
    answer = await post(client, images, query, accept="application/x-npz", **options)
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as archive:
        return dict(archive)


def metadata(maps: dict[str, Any]) -> dict[str, Any]:
    return json.loads(maps["metadata"].tobytes())


async def test_maps_are_those_of_the_pixels(client: httpx.AsyncClient) -> None:
    image = pictures.halves(51, 204)  # 0.2 and 0.8
    maps = await arrays(client, [pictures.encoded(image)])
    assert maps["absorption"].shape == (1, 168, 224, 8)
    assert maps["absorption"].dtype == np.float32
    np.testing.assert_allclose(maps["absorption"][0, 80, 10], 0.2 * BANDS, rtol=1e-6)
    np.testing.assert_allclose(maps["absorption"][0, 80, -10], 0.8 * BANDS, rtol=1e-6)
    np.testing.assert_allclose(maps["reflection"][0, 80, 10], (1 - 0.16) / 2, rtol=1e-6)
    np.testing.assert_allclose(maps["impedance"][0, 80, 10], (2, -1))
    assert maps["depth_map"].max() == 2
    assert (maps["acoustic_conf"] == 0.5).all()  # no sound
    assert set(maps) == {
        *("absorption", "reflection", "scattering", "impedance", "acoustic_conf", "depth_map", "depth_conf"),
        *("extrinsics", "pose_conf", "intrinsics", "original_from_model", "original_size", "rows", "metadata"),
    }
    np.testing.assert_allclose(maps["intrinsics"][0], [[112, 0, 112], [0, 112, 84], [0, 0, 1]], rtol=1e-5)
    np.testing.assert_allclose(maps["extrinsics"][0], np.eye(3, 4), atol=1e-6)
    told = metadata(maps)
    assert (told["model_digest"], told["metric"]) == (tiny.DIGEST, True)
    assert set(told["maps"]) < set(maps)


async def test_only_the_maps_that_are_asked_for_are_sent(client: httpx.AsyncClient) -> None:
    maps = await arrays(client, ROOM[:1], "?map=depth_map&map=world_points&map=depth_map")
    assert {"depth_map", "world_points"} == set(metadata(maps)["maps"])
    assert "absorption" not in maps
    assert maps["world_points"].shape == (1, 224, 224, 3)


async def test_lengths_carry_the_scale(client: httpx.AsyncClient) -> None:
    query = "?map=depth_map&map=world_points&map=scattering"
    plain, doubled = await arrays(client, ROOM, query), await arrays(client, ROOM, query, fields={"scale": "2"})
    for name in ("depth_map", "world_points"):
        np.testing.assert_allclose(doubled[name], 2 * plain[name], rtol=1e-6)
    np.testing.assert_array_equal(doubled["scattering"], plain["scattering"])


async def test_world_points_agree_with_depth_and_cameras(client: httpx.AsyncClient) -> None:
    maps = await arrays(client, ROOM, "?map=depth_map&map=world_points")
    y, x = np.mgrid[0:224, 0:224] + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(maps["intrinsics"][0]).T
    for view in range(4):
        rotation, translation = maps["extrinsics"][view, :, :3], maps["extrinsics"][view, :, 3]
        points = (rays * maps["depth_map"][view] - translation) @ rotation
        np.testing.assert_allclose(points, maps["world_points"][view], atol=1e-4)


async def test_safetensors_and_npz_hold_the_same(client: httpx.AsyncClient) -> None:
    expected = await arrays(client, ROOM[:2])
    answer = await post(client, ROOM[:2], accept="application/vnd.safetensors")
    tensors = load_safetensors(answer.content)
    assert set(tensors) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
async def test_coded_maps_are_smaller_and_as_near_as_they_say(client: httpx.AsyncClient, dtype: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    images = [pictures.encoded(Image.fromarray(noise))]
    exact, coded = await arrays(client, images), await arrays(client, images, f"?dtype={dtype}")
    a, q = exact["absorption"], coded["absorption"]
    assert q.dtype == dtype
    decoded = (q.astype(np.float32) / 255) ** 2 if dtype == "uint8" else q.astype(np.float32)
    bound = np.sqrt(a) / 255 + 1 / (4 * 255**2) if dtype == "uint8" else a / 2**11 + 2**-25
    assert (np.abs(decoded - a) <= bound + 1e-7).all()
    r = coded["reflection"]
    reflected = (r.astype(np.float32) / 255) ** 2 if dtype == "uint8" else r.astype(np.float32)
    assert (decoded.max(axis=-1, keepdims=True) + reflected).max() <= 1 + 1e-6
    assert coded["depth_map"].dtype == np.float16
    assert coded["impedance"].dtype == np.float16


async def test_pictures_of_unlike_shapes_are_padded_and_their_padding_is_told(client: httpx.AsyncClient) -> None:
    tall, wide = pictures.encoded(pictures.grey(GREY, 200, 300)), pictures.encoded(pictures.grey(GREY, 400, 200))
    maps = await arrays(client, [tall, wide])
    assert maps["absorption"].shape == (2, 224, 224, 8)
    assert maps["rows"].tolist() == [[0, 224], [56, 168]]
    np.testing.assert_allclose(maps["absorption"][1, 60, 5], 0.4 * BANDS, rtol=1e-5)
    np.testing.assert_allclose(maps["absorption"][1, 50, 5], BANDS, rtol=1e-5)  # white
    corner = maps["original_from_model"][1] @ [0, 56, 1]
    np.testing.assert_allclose(corner, [0, 0, 1], atol=1e-6)
    summary = (await post(client, [tall, wide])).json()
    assert len(summary["materials"]) == 1  # the white is no wall


async def test_a_picture_has_the_map_and_a_scale(client: httpx.AsyncClient) -> None:
    image = pictures.encoded(pictures.halves(0, 255))
    answer = await post(client, [image], "?map=absorption&band=16000", accept="image/png")
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert pixels.shape[1] == 448
    dark, bright = pixels[100, 50], pixels[100, -50]
    assert dark.tolist() == [68, 1, 84]  # viridis at 0
    assert bright[1] > 190  # and at 0.8
    other = await post(client, [image], "?map=absorption&band=125", accept="image/png")
    assert other.content != answer.content


async def test_pictures_and_textures_are_zips_of_every_view(client: httpx.AsyncClient) -> None:
    answer = await post(client, ROOM[:2], "?format=pictures&map=absorption&map=depth_map")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
    assert len(names) == 2 * 9
    assert {"view0/absorption_125.png", "view1/absorption_16000.png", "view1/depth_map.png"} <= set(names)
    answer = await post(client, ROOM[:2], "?format=textures")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        name = "view1/absorption_8000_16000_scattering.png"
        assert name in archive.namelist()
        with Image.open(archive.open(name)) as texture:
            assert (texture.mode, texture.size, texture.info) == ("RGB", (224, 224), {})
            values = (np.asarray(texture)[100, 100] / 255) ** 2
    np.testing.assert_allclose(values, [0.4 * 0.7, 0.4 * 0.8, 0.25], atol=0.004)


async def test_server_timing_has_the_five_stages(client: httpx.AsyncClient) -> None:
    answer = await post(client, ROOM, audio=sounds.encoded(sounds.clip(), "wav"), fields={"fps": "10"})
    names = [entry.partition(";")[0] for entry in answer.headers["server-timing"].split(", ")]
    assert names == ["decode", "preprocess", "infer", "postprocess", "encode", "total"]


async def test_the_model_says_what_it_takes_and_gives(client: httpx.AsyncClient, make_settings: MakeSettings) -> None:
    model = (await client.get("/v1/models/acoustic_maps")).json()
    assert model["images"] == {
        "width": 224,
        "max_height": 224,
        "patch_size": 14,
        "max_images": 16,
        "max_pixels": 50_000_000,
        "max_bytes": 64 << 20,
        "max_aspect": 10,
        "formats": ["image/jpeg", "image/png", "image/webp"],
    }
    assert model["bands_hz"] == [125, 250, 500, 1000, 2000, 4000, 8000, 16000]
    assert (model["model_digest"], model["metric"], model["preset"]) == (tiny.DIGEST, True, "tiny")
    assert model["audio"]["sample_rate"] == 48000
    assert {entry["name"] for entry in model["formats"]} == set(FORMATS)
    assert {entry["name"] for entry in model["maps"]} >= {"absorption", "world_points"}
    async with in_memory(create_app(make_settings(max_images=3))) as small:
        assert (await small.get("/v1/models/acoustic_maps")).json()["images"]["max_images"] == 3
        assert (await small.post(ROUTE, files=pictures.form(ROOM))).status_code == 422


async def test_the_document_describes_the_form_and_every_answer(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][ROUTE]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["images"]
    assert set(form["properties"]) == {
        *("images", "audio", "fps", "timestamps", "offset_s", "scale", "room_volume", "surface_area")
    }
    assert set(operation["responses"]["200"]["content"]) == {form.media_type for form in FORMATS.values()}
    for name in FORMATS:
        assert f"`{name}`" in operation["responses"]["200"]["description"]
    for parameter in operation["parameters"]:
        assert parameter["description"], parameter["name"]
    schema = document["components"]["schemas"]["Summary"]
    assert set((await post(client, ROOM)).json()) == set(schema["properties"])
