"""POST /v1/acoustic-maps: the room that the maps show, its forms for engines, and its sound."""

import io
import struct
import zipfile

import httpx
import numpy as np
import pytest
import safetensors.numpy
import soundfile

from service.models.acoustic_maps.answers import FORMATS
from tests import pictures, sounds, tiny
from tests.api.test_acoustic_maps import BANDS, ROOM, arrays, metadata, post

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def client(shared_client: httpx.AsyncClient) -> httpx.AsyncClient:
    return shared_client


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
        assert room["rt60_by_method_s"].items() <= rooms["raytrace"]["rt60_by_method_s"].items()
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


async def test_one_picture_makes_a_guess_of_a_room_and_says_so(client: httpx.AsyncClient) -> None:
    body = (await post(client, [pictures.encoded(pictures.grey())])).json()
    assert body["room"]["rt60_s"] is not None
    assert any("not seen, and assumed" in warning for warning in body["warnings"])


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


async def test_the_scene_comes_as_arrays_and_its_impulse_response_for_two_ears(client: httpx.AsyncClient) -> None:
    scene = await arrays(client, ROOM, "?format=scene-npz&frame=unreal")
    assert scene["triangles"].max() < len(scene["positions"])
    np.testing.assert_allclose(sorted(np.ptp(scene["positions"], axis=0)), [250, 400, 400], rtol=0.02)
    answer = await post(client, ROOM, "?format=scene-safetensors&frame=unreal", accept="*/*")
    np.testing.assert_array_equal(safetensors.numpy.load(answer.content)["positions"], scene["positions"])
    answer = await post(client, ROOM, "?format=room-ir&channels=2", accept="*/*")
    assert soundfile.info(io.BytesIO(answer.content)).channels == 2
