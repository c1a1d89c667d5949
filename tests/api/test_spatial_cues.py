"""POST /v1/spatial-cues: what two ears hear, frame by frame."""

import io
import json
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors

from service.app import create_app
from service.settings import Settings
from tests import kemar, sounds
from tests.api.conftest import MakeSettings, in_memory
from tests.api.test_detokenize import problem

ROUTE = "/v1/spatial-cues"


def wav(ears: NDArray[np.float32], layout: str = "stereo") -> bytes:
    rate = kemar.SAMPLE_RATE
    return sounds.encode(ears, "wav", "pcm_f32le", rate, layout=layout, source_rate=rate)


def pcm(rate: int = 48_000, channels: int = 2) -> dict[str, str]:
    return {"Content-Type": f"audio/pcm;rate={rate};channels={channels};encoding=f32le"}


@pytest.fixture(scope="module")
def left() -> bytes:
    """Noise from 45 degrees to the left, 2.5 s."""
    return wav(kemar.heard(kemar.noise(), 45))


@pytest.fixture
async def bare() -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose models are out of reach: cues need none."""
    async with in_memory(create_app(Settings(triton_url="127.0.0.1:9"))) as client:
        yield client


async def test_each_frame_of_a_real_head_has_its_cues(client: httpx.AsyncClient, left: bytes) -> None:
    answer = await client.post(f"{ROUTE}?fps=30000/1001", content=left, headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    frames = body.pop("frames")
    assert body == {
        "sample_rate": 44_100,
        "num_samples": 110_250,
        "duration_s": 2.5,
        "fps": "30000/1001",
        "offset_s": 0,
        "window_s": 0.2,
        "itd_band_hz": [100, 8000],
        "bands_hz": [125, 250, 500, 1000, 2000, 4000, 8000, 16000],
        "unused_samples": [0, 0],
        "warnings": [],
        "iacc": None,
    }
    assert len(frames) == 75
    row = next(row for row in kemar.cues() if row["azimuth_deg"] == 45)
    assert np.median([frame["itd_us"] for frame in frames]) == pytest.approx(row["itd_us"], abs=2)
    assert np.median([frame["azimuth_deg"] for frame in frames]) == pytest.approx(46.2, abs=0.5)
    assert np.median([frame["ild_db"] for frame in frames]) == pytest.approx(row["ild_db"], abs=0.3)
    bands = np.median([frame["ild_band_db"] for frame in frames], axis=0)
    np.testing.assert_allclose(bands[2:], row["ild_band_db"][2:], atol=0.5)
    assert min(frame["confidence"] for frame in frames) > 0.6
    assert min(frame["coherence"] for frame in frames) > 0.85
    assert [frame["valid_samples"] for frame in frames[:5]] == [1471, 1472, 1471, 1472, 1471]
    assert frames[-1]["time_s"] == pytest.approx(74 * 1001 / 30000, abs=1e-6)


async def test_it_is_served_without_any_model(bare: httpx.AsyncClient, left: bytes) -> None:
    assert (await bare.post(ROUTE, content=left)).status_code == 200
    assert (await bare.get("/readyz")).status_code == 503  # as the models are not there
    entries = (await bare.get("/v1/models")).json()["models"]
    assert {"served": True, "missing": []}.items() <= next(e for e in entries if e["name"] == "spatial_cues").items()
    description = (await bare.get("/v1/models/spatial_cues")).json()
    assert description["limits"]["max_frames"] == 120_000
    assert description["default_fps"] == "30"
    assert description["channels"] == ["left", "right"]
    assert description["formats"] == ["application/json", "application/x-npz", "application/vnd.safetensors"]


async def test_all_forms_of_the_answer_hold_the_same_cues(client: httpx.AsyncClient, left: bytes) -> None:
    query = "?num_frames=90"  # of which the last are silent
    named = (await client.post(ROUTE + query, content=left)).json()
    packed = await client.post(ROUTE + query, content=left, headers={"Accept": "application/x-npz"})
    tensors = await client.post(ROUTE + query, content=left, headers={"Accept": "application/vnd.safetensors"})
    assert packed.headers["content-type"] == "application/x-npz"
    with np.load(io.BytesIO(packed.content), allow_pickle=False) as file:
        arrays = dict(file)
    assert arrays.keys() == load_safetensors(tensors.content).keys()
    for name, array in load_safetensors(tensors.content).items():
        np.testing.assert_array_equal(array, arrays[name])
    for name, atol in {
        "time_s": 1e-6,
        "itd_us": 0.01,
        "ild_band_db": 1e-3,
        "coherence": 1e-4,
        "valid_samples": 0,
    }.items():
        column = np.array([frame[name] for frame in named["frames"]], np.float64)  # None becomes NaN
        np.testing.assert_allclose(arrays[name], column, atol=atol)
    assert np.isnan(arrays["itd_us"]).sum() == 13  # the windows of two frames behind the sound reach enough of it


async def test_without_a_frame_rate_there_are_30_frames_per_second(client: httpx.AsyncClient, left: bytes) -> None:
    body = (await client.post(ROUTE, content=left)).json()
    assert (body["fps"], len(body["frames"])) == ("30", 75)
    decimal = (await client.post(f"{ROUTE}?fps=29.97", content=left)).json()
    assert decimal["fps"] == "30000/1001"


async def test_frames_may_have_timestamps_and_the_sound_its_own_start(client: httpx.AsyncClient) -> None:
    """The source jumps from left to right after 1 s of sound, which is 2.5 s after the first frame."""
    sides = [kemar.heard(kemar.noise(1), azimuth) for azimuth in (60, 300)]
    content = wav(np.concatenate(sides, axis=1))
    answer = await client.post(f"{ROUTE}?timestamps=0,2,2.25,3,3.4,9&offset_s=1.5", content=content)
    body = answer.json()
    signs = [frame["itd_us"] and np.sign(frame["itd_us"]) for frame in body["frames"]]
    assert signs == [None, 1, 1, -1, -1, None]
    assert [frame["valid_samples"] for frame in body["frames"]] == [22_050, 11_025, 33_075, 17_640, 4410, 0]
    assert body["fps"] is None
    assert body["unused_samples"] == [0, 0]
    early = (await client.post(f"{ROUTE}?num_frames=30&offset_s=-0.5", content=content)).json()
    assert early["unused_samples"] == [22_050, 22_050]
    assert early["frames"][0]["itd_us"] == pytest.approx(517, abs=25)
    assert early["frames"][29]["itd_us"] == pytest.approx(-517, abs=25)


async def test_options_change_what_is_measured(client: httpx.AsyncClient, left: bytes) -> None:
    low = (await client.post(f"{ROUTE}?itd_lowpass=true&window_s=1&num_frames=30", content=left)).json()
    assert low["itd_band_hz"] == [100, 1500]
    assert low["frames"][29]["itd_us"] == pytest.approx(451.6, abs=10)
    steps = np.repeat([1, 0.2, 0.02], kemar.SAMPLE_RATE).astype(np.float32)  # 14 and 34 dB below the beginning
    content = wav(kemar.heard(kemar.noise(3), 45) * steps)
    for query, heard in {
        "": [True, True, False],
        "&gate_db=10": [True, False, False],
        "&gate_db=60": [True] * 3,
    }.items():
        frames = (await client.post(f"{ROUTE}?timestamps=0.5,1.5,2.5{query}", content=content)).json()["frames"]
        assert [frame["itd_us"] is not None for frame in frames] == heard
        assert all(frame["ild_db"] is not None for frame in frames)


async def test_an_impulse_response_has_an_iacc_and_running_sound_has_none(client: httpx.AsyncClient) -> None:
    generator = np.random.default_rng(0)
    response = 0.1 * generator.standard_normal((2, kemar.SAMPLE_RATE // 2)).astype(np.float32)
    response[:, : kemar.SAMPLE_RATE // 10] = 0
    response[:, 100:612] += kemar.response(30)
    query = "?impulse_response=true&timestamps=0.05"
    body = (await client.post(ROUTE + query, content=wav(response))).json()
    iacc = body["iacc"]
    assert iacc["early"] > 0.8
    assert iacc["late"] < 0.1
    assert [band["band_hz"] for band in iacc["bands"]] == body["bands_hz"]
    assert set(iacc["bands"][0]) == {"band_hz", "early", "late", "full"}
    arrays = await client.post(ROUTE + query, content=wav(response), headers={"Accept": "application/x-npz"})
    with np.load(io.BytesIO(arrays.content)) as file:
        assert file["iacc_early"].shape == (9,)
    long = np.zeros(2 * 8000 * 11, "<f4")
    long[:] = 0.1
    answer = await client.post(f"{ROUTE}?impulse_response=true", content=long.tobytes(), headers=pcm(8000))
    assert problem(answer) == (422, "invalid-input")
    assert "10 s" in answer.text


async def test_identical_channels_are_called_mono(client: httpx.AsyncClient) -> None:
    body = (await client.post(ROUTE, content=wav(np.stack([kemar.noise(1)] * 2)))).json()
    assert "identical" in body["warnings"][0]
    assert {frame["ild_db"] for frame in body["frames"]} == {0}


async def test_high_sample_rates_are_measured_at_48_khz(client: httpx.AsyncClient) -> None:
    ears = np.repeat(kemar.heard(kemar.noise(0.5), 30), 4, axis=1)  # a rough way to 176.4 kHz
    answer = await client.post(ROUTE, content=ears.T.astype("<f4").tobytes(), headers=pcm(176_400))
    body = answer.json()
    assert body["sample_rate"] == 48_000
    assert body["frames"][7]["itd_us"] == pytest.approx(254.7, abs=10)


@pytest.mark.parametrize(("channels", "layout"), [(1, "mono"), (6, "5.1")])
async def test_ears_are_two(client: httpx.AsyncClient, channels: int, layout: str) -> None:
    answer = await client.post(ROUTE, content=wav(np.stack([kemar.noise(0.3)] * channels), layout))
    assert problem(answer) == (422, "invalid-input")
    assert f"two channels, left and right; this has {channels}" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        *(
            "fps=0",
            "fps=nan",
            "fps=1e999999999",
            "fps=30/0",
            "fps=-1",
            "fps=5000",
            "num_frames=0",
            "num_frames=99999999",
        ),
        *(
            "timestamps=",
            "timestamps=0,x",
            "timestamps=0,1,1",
            "timestamps=2,1",
            "timestamps=nan",
            "timestamps=0,1e300",
        ),
        *("offset_s=1e9", "offset_s=nan", "window_s=0.03", "window_s=60", "gate_db=-1", "itd_lowpass=maybe", "what=1"),
    ],
)
async def test_a_wrong_option_is_named(client: httpx.AsyncClient, left: bytes, query: str) -> None:
    answer = await client.post(f"{ROUTE}?{query}", content=left)
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert query.partition("=")[0] in answer.text


@pytest.mark.parametrize("query", ["fps=30&timestamps=0,1", "num_frames=2&timestamps=0,1"])
async def test_two_clocks_contradict_each_other(client: httpx.AsyncClient, left: bytes, query: str) -> None:
    answer = await client.post(f"{ROUTE}?{query}", content=left)
    assert problem(answer) == (422, "invalid-input")
    assert "either timestamps, or fps" in answer.text


@pytest.mark.parametrize("query", ["offset_s=-3", "timestamps=5,6", "offset_s=2&num_frames=10"])
async def test_sound_outside_of_the_video_is_refused(client: httpx.AsyncClient, left: bytes, query: str) -> None:
    answer = await client.post(f"{ROUTE}?{query}", content=left)
    assert problem(answer) == (422, "invalid-input")
    assert "no frame has any of the sound, which lasts 2.5 s" in answer.text


async def test_more_frames_than_are_measured_at_once_are_refused(client: httpx.AsyncClient) -> None:
    for query, seconds in {"fps=1000": 121, "fps=1000&window_s=2": 13}.items():
        silence = bytes(4 * 2 * 4000 * seconds)
        answer = await client.post(f"{ROUTE}?{query}", content=silence, headers=pcm(4000))
        assert problem(answer) == (422, "invalid-input")
        assert f"more than {120_000 if seconds > 120 else 12_000} frames" in answer.text
    answer = await client.post(f"{ROUTE}?num_frames=12001&window_s=2", content=silence, headers=pcm(4000))
    assert problem(answer) == (422, "invalid-input")
    assert "at most 12000 frames" in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "status", "slug"),
    [
        (b"", {}, 400, "malformed-input"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "unsupported-media"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), {}, 415, "unsupported-media"),
        (bytes(12), pcm(), 400, "malformed-input"),
        (np.array([0, np.nan] * 8, "<f4").tobytes(), pcm(), 422, "invalid-input"),
        (bytes(64), pcm(rate=1), 422, "invalid-input"),
    ],
)
async def test_a_hostile_body_is_a_clear_refusal(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    assert problem(await client.post(ROUTE, content=content, headers=headers)) == (status, slug)


async def test_limits_of_the_service_hold(make_settings: MakeSettings, left: bytes) -> None:
    async with in_memory(create_app(make_settings(max_audio_s=2, max_body_bytes=1 << 20))) as client:
        assert problem(await client.post(ROUTE, content=left)) == (413, "payload-too-large")
        assert problem(await client.post(ROUTE, content=bytes(2 << 20))) == (413, "payload-too-large")
        refused = await client.post(ROUTE, content=left, headers={"Accept": "image/png"})
        assert problem(refused) == (406, "not-acceptable")


async def test_the_document_tells_units_problems_and_an_answer_of_the_true_shape(
    client: httpx.AsyncClient, left: bytes
) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][ROUTE]["post"]
    assert {"400", "406", "408", "413", "415", "422", "503"} <= set(operation["responses"])
    assert set(operation["requestBody"]["content"]) >= {"audio/wav", "application/octet-stream"}
    for parameter in operation["parameters"]:
        assert parameter["description"], parameter["name"]
        for example in parameter["schema"].get("examples", []):
            answer = await client.post(ROUTE, params={parameter["name"]: example}, content=left)
            assert answer.status_code == 200, (parameter["name"], answer.text)
    example = document["components"]["schemas"]["SpatialCuesAnswer"]["example"]
    answer = (await client.post(ROUTE, content=left)).json()
    assert answer.keys() == example.keys()
    assert answer["frames"][0].keys() == example["frames"][0].keys()
    assert json.loads(json.dumps(example)) == example


async def test_the_answer_says_where_the_time_went(client: httpx.AsyncClient, left: bytes) -> None:
    timing = (await client.post(ROUTE, content=left)).headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == [
        "decode",
        "preprocess",
        "postprocess",
        "encode",
        "total",
    ]
