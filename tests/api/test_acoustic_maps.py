"""POST /v1/acoustic-maps: every form of the answer, read back by a reader of that form."""

import io
import json
import struct
import zipfile
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
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


async def test_the_summary_is_the_room_that_the_pictures_show(client: httpx.AsyncClient) -> None:
    answer = await post(client, ROOM)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    room = body["room"]
    # 4 x 4 x 2.5 m, and all of it absorbs the same
    assert sorted(room["dims_m"]) == pytest.approx([2.5, 4, 4], rel=0.02)
    assert room["volume_m3"] == pytest.approx(40, rel=0.05)
    assert room["surface_m2"] == pytest.approx(72, rel=0.05)
    assert len(body["materials"]) == 1
    np.testing.assert_allclose(body["materials"][0]["absorption"], 0.4 * BANDS, atol=1e-3)
    assert body["materials"][0]["area_m2"] == pytest.approx(72, rel=0.05)
    eyring = 0.161 * 40 / (-72 * np.log1p(-0.4 * BANDS[:4]) + 4 * 40 * np.array(room["air"]["m_per_m"])[:4])
    np.testing.assert_allclose(room["rt60_s"][:4], eyring, rtol=0.05)
    assert (room["rt60_method"], body["scale"]) == ("eyring", {"metric": True, "source": "model"})
    assert {surface["class"] for surface in body["surfaces"]} == {"floor", "ceiling", "wall"}
    assert body["model"] == {"name": "acoustic_maps", "digest": tiny.DIGEST}
    assert body["image"] == {"width": 224, "height": 224}
    assert body["binaural"] is None
    assert [view["index"] for view in body["views"]] == [0, 1, 2, 3]
    assert body["views"][0]["original_size"] == [320, 320]
    np.testing.assert_allclose(body["views"][0]["original_from_model"], np.diag([320 / 224, 320 / 224, 1]), rtol=1e-5)


async def test_reverberation_comes_by_every_formula_and_the_chosen_one(client: httpx.AsyncClient) -> None:
    rooms = {
        method: (await post(client, ROOM, f"?rt60_method={method}")).json()["room"]
        for method in ("sabine", "eyring", "kuttruff", "raytrace")
    }
    for method, room in rooms.items():
        assert room["rt60_method"] == method
        assert room["rt60_s"] == room["rt60_by_method_s"][method]
    by_method = rooms["raytrace"]["rt60_by_method_s"]
    assert set(by_method) == {"sabine", "eyring", "kuttruff", "raytrace"}
    assert all(np.array(by_method["sabine"]) >= by_method["eyring"])
    np.testing.assert_allclose(by_method["raytrace"][:3], by_method["eyring"][:3], rtol=0.15)


async def test_what_the_caller_knows_outweighs_what_was_seen(client: httpx.AsyncClient) -> None:
    plain = (await post(client, ROOM)).json()
    scaled = (await post(client, ROOM, fields={"scale": "2"})).json()
    assert scaled["scale"] == {"metric": True, "source": "request"}
    assert scaled["room"]["volume_m3"] == pytest.approx(8 * plain["room"]["volume_m3"], rel=1e-3)
    assert scaled["surfaces"][0]["area_m2"] == pytest.approx(4 * plain["surfaces"][0]["area_m2"], rel=1e-3)
    given = (await post(client, ROOM, fields={"room_volume": "60", "surface_area": "100"})).json()["room"]
    assert (given["volume_m3"], given["surface_m2"]) == (60, 100)
    expected = 0.161 * 60 / (-100 * np.log1p(-0.4 * BANDS[:3]))
    np.testing.assert_allclose(given["rt60_s"][:3], expected, rtol=0.02)


async def test_one_picture_is_enough_for_maps_and_says_that_it_is_not_for_a_room(client: httpx.AsyncClient) -> None:
    body = (await post(client, [pictures.encoded(pictures.grey())])).json()
    assert body["room"]["rt60_s"] is None
    assert body["warnings"]


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
        *("extrinsics", "intrinsics", "original_from_model", "original_size", "rows", "metadata"),
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


@pytest.mark.parametrize("name", sorted(FORMATS))
async def test_every_form_has_its_name_and_its_media_type(client: httpx.AsyncClient, name: str) -> None:
    media_type = FORMATS[name].media_type  # type: ignore[index]
    answer = await post(client, ROOM, f"?format={name}", accept=f"{media_type}, text/html;q=0.9")
    assert answer.headers["content-type"] == media_type
    if media_type == "application/json":
        assert answer.json()
    elif media_type == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist()
    first = next(other for other in FORMATS.values() if other.media_type == media_type)
    if first is FORMATS[name]:  # type: ignore[index]
        assert (await post(client, ROOM, accept=media_type)).content == answer.content


async def test_the_glb_is_one(client: httpx.AsyncClient) -> None:
    content = (await post(client, ROOM, accept="model/gltf-binary")).content
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    few = (await post(client, ROOM, "?faces=12", accept="model/gltf-binary")).content
    assert len(few) <= len(content)


async def test_the_scene_is_the_summary_and_its_mesh(client: httpx.AsyncClient) -> None:
    summary, scene = (await post(client, ROOM)).json(), (await post(client, ROOM, "?format=scene")).json()
    mesh = scene.pop("mesh")
    assert scene == summary
    assert np.array(mesh["positions"]).shape[1] == np.array(mesh["triangles"]).shape[1] == 3
    unity = (await post(client, ROOM, "?format=scene&frame=unity")).json()
    assert unity["frame"] == "unity"


async def test_the_impulse_response_is_sound(client: httpx.AsyncClient) -> None:
    content = (await post(client, ROOM, accept="audio/wav")).content
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == 48000
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() > 0


def recording(seconds: float, channels: int = 1, delay: int = 0) -> bytes:
    """Noise; with two channels, the right one `delay` samples later."""
    noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * 48000) + delay)
    ears = np.stack([noise[delay:], noise[: len(noise) - delay]])[:channels]
    buffer = io.BytesIO()
    soundfile.write(buffer, ears.T, 48000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


async def test_sound_is_heard_where_there_is_some(client: httpx.AsyncClient) -> None:
    timing = {"timestamps": "0.2, 1.0, 2.9, 3.5"}
    maps = await arrays(client, ROOM, "?map=acoustic_conf", audio=recording(4), fields=timing)
    assert (maps["acoustic_conf"] == 0.75).all()
    late = timing | {"offset_s": "2.5"}  # the recording begins when two pictures are long taken
    maps = await arrays(client, ROOM, "?map=acoustic_conf", audio=recording(4), fields=late)
    assert maps["acoustic_conf"][:, 0, 0].tolist() == [0.5, 0.5, 0.75, 0.75]
    assert metadata(maps)["timestamps_s"] == [0.2, 1.0, 2.9, 3.5]
    summary = (await post(client, ROOM, audio=recording(4), fields=late)).json()
    assert [view["heard"] for view in summary["views"]] == [False, False, True, True]
    assert [view["timestamp_s"] for view in summary["views"]] == [0.2, 1.0, 2.9, 3.5]


async def test_one_picture_and_a_recording_need_no_time(client: httpx.AsyncClient) -> None:
    maps = await arrays(client, ROOM[:1], "?map=acoustic_conf", audio=sounds.encoded(sounds.clip(), "ogg-opus"))
    assert (maps["acoustic_conf"] == 0.75).all()


async def test_binaural_sound_says_where_it_comes_from(client: httpx.AsyncClient) -> None:
    fields = {"fps": "29.97"}
    body = (await post(client, ROOM, audio=recording(1, channels=2, delay=12), fields=fields)).json()
    cues = body["binaural"]
    assert [cue["view"] for cue in cues] == [0, 1, 2, 3]
    assert cues[1]["time_s"] == pytest.approx(1001 / 30000, abs=1e-6)
    for cue in cues:
        assert cue["itd_us"] == pytest.approx(250, abs=1)  # left first
        assert cue["azimuth_deg"] > 20
        assert cue["ild_db"] == pytest.approx(0, abs=0.3)
    mono = (await post(client, ROOM, audio=recording(1), fields=fields)).json()
    assert mono["binaural"] is None


async def test_server_timing_has_the_five_stages(client: httpx.AsyncClient) -> None:
    answer = await post(client, ROOM, audio=recording(1), fields={"fps": "10"})
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
