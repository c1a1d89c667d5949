"""POST /v1/detokenize: every form of tokens to every form of sound."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from service.app import create_app
from service.settings import Settings
from tests import sounds, tiny
from tests.api.conftest import in_memory

CONTAINER = "application/vnd.auricle.tokens"
FORMS = ("application/json", CONTAINER, "application/x-npz", "application/vnd.safetensors")
LONG = np.resize(sounds.clip(), 16000 * 25 + 7)


async def tokenize(client: httpx.AsyncClient, accept: str = "application/json", query: str = "") -> bytes:
    answer = await client.post(f"/v1/tokenize{query}", content=sounds.encoded(LONG, "wav"), headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer.content


async def detokenize(
    client: httpx.AsyncClient,
    content: bytes,
    content_type: str = "application/json",
    accept: str = "*/*",
    query: str = "",
) -> httpx.Response:
    answer = await client.post(
        f"/v1/detokenize{query}", content=content, headers={"Content-Type": content_type, "Accept": accept}
    )
    assert answer.status_code == 200, answer.text
    return answer


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == answer.json()["status"]
    return answer.status_code, answer.json()["type"].removeprefix("urn:problem-type:")


def expected_levels(mel: np.ndarray) -> np.ndarray:
    """What the tiny vocoder plays: the mean level of each frame, on a carrier of one sample in two."""
    amplitude = 10 ** (mel.mean(axis=-1) / 20)
    return (amplitude[:, None] * np.tile([0.0, 1.0, 0.0, -1.0], 40)).ravel()


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_gives_the_same_sound_of_the_same_length(client: httpx.AsyncClient, form: str) -> None:
    reference = await detokenize(client, await tokenize(client))
    answer = await detokenize(client, await tokenize(client, form), form)
    assert answer.content == reference.content
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert (rate, samples.shape) == (16000, (len(LONG),))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded"])
async def test_a_form_that_is_not_named_is_known_by_its_first_bytes(
    client: httpx.AsyncClient, form: str, content_type: str
) -> None:
    """The second is what curl says of any file."""
    tokens = await tokenize(client, form)
    assert (await detokenize(client, tokens, content_type)).content == (await detokenize(client, tokens, form)).content


@pytest.mark.parametrize("query", ["?codebooks=2", "?codebooks=18&vocab_offset=7", "?vocab_offset=50000"])
async def test_ids_of_a_language_model_come_back_to_the_same_sound(client: httpx.AsyncClient, query: str) -> None:
    reference = await detokenize(client, await tokenize(client))
    assert (await detokenize(client, await tokenize(client, query=query))).content == reference.content


async def test_windows_join_without_a_seam(client: httpx.AsyncClient) -> None:
    tokens = await tokenize(client)
    wav = await detokenize(client, tokens, query="?encoding=float")
    samples, _ = soundfile.read(io.BytesIO(wav.content), dtype="float32")
    with np.load(io.BytesIO((await detokenize(client, tokens, accept="application/x-npz")).content)) as arrays:
        mel = arrays["mel"]
    assert mel.shape == (1, 2501, 128)
    np.testing.assert_allclose(samples, expected_levels(mel[0])[: len(LONG)], atol=1e-6)


async def test_the_sound_is_wav_flac_or_ogg(client: httpx.AsyncClient) -> None:
    tokens = await tokenize(client)
    wav, rate = soundfile.read(io.BytesIO((await detokenize(client, tokens)).content), dtype="int16")
    flac = await detokenize(client, tokens, accept="audio/flac")
    assert flac.headers["content-type"] == "audio/flac"
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(flac.content), dtype="int16")[0], wav)
    ogg = await detokenize(client, tokens, accept="audio/ogg;q=0.9, audio/wav;q=0.2")
    assert ogg.headers["content-type"] == "audio/ogg"
    assert ogg.content[:4] == b"OggS"
    assert rate == 16000


async def test_channels_come_back_apart(client: httpx.AsyncClient) -> None:
    stereo = np.stack([LONG[:48000], np.zeros(48000, np.float32)])
    tokens = await client.post("/v1/tokenize?channel=each", content=sounds.encoded(stereo, "wav", layout="stereo"))
    for accept in ("audio/wav", "audio/flac"):
        answer = await detokenize(client, tokens.content, accept=accept)
        samples, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
        assert samples.shape == (48000, 2)
        assert abs(samples[:, 0]).max() > 10 * abs(samples[:, 1]).max()


async def test_griffin_lim_speaks_where_the_repository_has_no_vocoder(tmp_path: Any) -> None:
    tiny.build(tmp_path, "tokenizer_encoder", "tokenizer_decoder")
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        assert (await client.get("/v1/models/tokenizer")).json()["vocoder"] == "griffin-lim"
        answer = await detokenize(client, await tokenize(client), query="?encoding=float")
    samples, _ = soundfile.read(io.BytesIO(answer.content), dtype="float32")
    assert samples.shape == LONG.shape
    assert np.abs(samples).max() > 0.01
    # where chunks meet, nothing jumps that does not jump elsewhere
    steps = np.abs(np.diff(samples))
    for cut in (1024 - 16, 2 * (1024 - 32) + 16):
        around = steps[cut * 160 - 2 : cut * 160 + 2]
        assert around.max() <= steps[(cut - 40) * 160 : (cut + 40) * 160].max()


async def test_tokens_of_another_model_are_refused(client: httpx.AsyncClient) -> None:
    body = {"tokens": [[1, 2, 3, 4]], "model_digest": "0" * 64}
    assert problem(await client.post("/v1/detokenize", json=body)) == (409, "model-mismatch")


async def test_an_altered_or_cut_container_is_refused(client: httpx.AsyncClient) -> None:
    packed = await tokenize(client, CONTAINER)
    for damaged in (packed[:-1], packed[:50], packed[:200] + bytes([packed[200] ^ 1]) + packed[201:]):
        answer = await client.post("/v1/detokenize", content=damaged, headers={"Content-Type": CONTAINER})
        assert problem(answer) == (400, "malformed-input")


@pytest.mark.parametrize(
    ("body", "expected", "pointer"),
    [
        ("{", (400, "malformed-input"), None),
        ("", (400, "malformed-input"), None),
        ("[]", (422, "invalid-input"), ""),
        ("{}", (422, "invalid-input"), "/tokens"),
        ('{"tokens": "all of them"}', (422, "invalid-input"), "/tokens"),
        ('{"tokens": [["1", 2, 3, 4]]}', (422, "invalid-input"), "/tokens/0/0"),
        ('{"tokens": [[1.5, 2, 3, 4]]}', (422, "invalid-input"), "/tokens/0/0"),
        ('{"tokens": [[1, 2, 262144, 4]]}', (422, "invalid-input"), "/tokens/0/2"),
        ('{"tokens": [[1, 2, -1, 4]]}', (422, "invalid-input"), "/tokens/0/2"),
        ('{"tokens": [[1, 2, 3, 99999999999999999999]]}', (422, "invalid-input"), None),
        ('{"tokens": []}', (422, "invalid-input"), "/tokens"),
        ('{"tokens": [[]]}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3]]}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4], [1]]}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4]], "codebooks": 5}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4]], "codebooks": 0}', (422, "invalid-input"), "/codebooks"),
        ('{"tokens": [[1, 2, 3, 4]], "num_samples": 99999}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4]], "window_frames": 7}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4]], "window_frames": 999999999}', (422, "invalid-input"), None),
        ('{"tokens": [[1, 2, 3, 4]], "vocab_offset": -3}', (422, "invalid-input"), "/vocab_offset"),
        ("[" * 100_000, (400, "malformed-input"), None),
    ],
)
async def test_wrong_json_is_a_problem_that_points_at_the_fault(
    client: httpx.AsyncClient, body: str, expected: tuple[int, str], pointer: str | None
) -> None:
    answer = await client.post("/v1/detokenize", content=body, headers={"Content-Type": "application/json"})
    assert problem(answer) == expected, answer.text
    if pointer is not None:
        assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("content_type", ["audio/wav", "text/plain", "", "application/octet-stream"])
async def test_a_body_that_is_no_form_of_tokens_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post("/v1/detokenize", content=b"tokens", headers={"Content-Type": content_type})
    assert problem(answer) == (415, "unsupported-media")


@pytest.mark.parametrize("form", ["application/x-npz", "application/vnd.safetensors"])
async def test_arrays_that_are_not_tokens_are_refused(client: httpx.AsyncClient, form: str) -> None:
    answer = await client.post("/v1/detokenize", content=b"PK not really", headers={"Content-Type": form})
    assert problem(answer) == (400, "malformed-input")


async def test_tokens_of_more_than_the_longest_audio_are_refused(tmp_path: Any) -> None:
    tiny.build(tmp_path)
    async with in_memory(create_app(Settings(model_repository=tmp_path, max_audio_s=1))) as client:
        answer = await client.post("/v1/detokenize", json={"tokens": [[0] * 400]})
    assert problem(answer) == (413, "payload-too-large")
