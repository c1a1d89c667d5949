"""POST /v1/embeddings and /v1/audio/embeddings: what comes in, what comes out."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.settings import Settings
from tests import sounds, tiny, tiny_embedders
from tests.api.conftest import MakeSettings, in_memory
from tests.tiny_embedders import DIMS, HOP, SAMPLE_RATE, WINDOW
from tests.unit.test_log_mel import CLAP, reference

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOG, RAIN = "a dog barks", "rain falls on the roof"


async def embed(client: httpx.AsyncClient, given: Any, **options: Any) -> dict[str, Any]:
    answer = await client.post("/v1/embeddings", json={"model": "embeddings", "input": given, **options})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def hear(client: httpx.AsyncClient, content: bytes, query: str = "", content_type: str = "audio/wav") -> dict:
    answer = await client.post(f"/v1/audio/embeddings{query}", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def vectors(body: dict[str, Any]) -> np.ndarray:
    """[N, D], in the order of the items."""
    assert [item["index"] for item in body["data"]] == list(range(len(body["data"])))
    return np.array([item["embedding"] for item in body["data"]], np.float32)


def pcm(samples: np.ndarray) -> bytes:
    return samples.astype("<f4").tobytes()


PCM = f"audio/pcm;rate={SAMPLE_RATE};encoding=f32le"


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    """At the model's rate, so that nothing is resampled on the way."""
    return (0.1 * np.random.default_rng(seed).normal(size=num_samples)).astype(np.float32)


def data_uri(content: bytes, media_type: str = "audio/wav") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def pooled(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    mean = np.average(rows, axis=0, weights=weights)
    return mean / np.linalg.norm(mean)


async def test_the_answer_is_openais_with_a_space_id(shared_client: httpx.AsyncClient) -> None:
    body = await embed(shared_client, DOG)
    (item,) = body["data"]
    assert (body["object"], body["model"], item["object"]) == ("list", "embeddings", "embedding")
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5, "audio_seconds": 0.0, "windows": 1}
    assert body["space_id"] == tiny_embedders.SPACE_ID
    assert set(item) == {"object", "index", "embedding"}
    np.testing.assert_allclose(vectors(body), [tiny_embedders.words(DOG)], atol=1e-6)


async def test_texts_of_all_lengths_keep_their_order(shared_client: httpx.AsyncClient) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(tiny_embedders.WORDS, size)) for size in rng.integers(1, 400, 60)]
    body = await embed(shared_client, texts)
    np.testing.assert_allclose(vectors(body), [tiny_embedders.words(text) for text in texts], atol=1e-6)
    assert body["usage"]["prompt_tokens"] == sum(len(text.split()) + 2 for text in texts)


async def test_base64_is_the_same_numbers_as_little_endian_floats(shared_client: httpx.AsyncClient) -> None:
    body = await embed(shared_client, [DOG, RAIN], encoding_format="base64")
    decoded = [np.frombuffer(base64.b64decode(item["embedding"]), "<f4") for item in body["data"]]
    np.testing.assert_array_equal(decoded, vectors(await embed(shared_client, [DOG, RAIN], encoding_format="float")))


async def test_a_long_text_is_the_mean_of_its_windows_by_their_tokens(shared_client: httpx.AsyncClient) -> None:
    names = np.random.default_rng(1).choice(tiny_embedders.WORDS, 1000).tolist()
    text = " ".join(names)
    body = await embed(shared_client, text, window=True)
    (item,) = body["data"]
    parts = [names[0:510], names[448:958], names[896:1000]]
    expected = np.stack([tiny_embedders.words(" ".join(part)) for part in parts])
    for window, part, vector in zip(item["windows"], parts, expected, strict=True):
        assert text[window["char_start"] : window["char_end"]] == " ".join(part)
        np.testing.assert_allclose(window["embedding"], vector, atol=1e-6)
    np.testing.assert_allclose(item["embedding"], pooled(expected, np.array([512, 512, 106])), atol=1e-6)
    assert body["usage"]["windows"] == 3


async def test_token_ids_are_read_when_their_vocabulary_is_named(shared_client: httpx.AsyncClient) -> None:
    described = (await shared_client.get("/v1/models/embeddings")).json()
    tokenizer = described["text"]["tokenizer"]
    ids = tiny_embedders.tokenizer().encode(DOG).ids
    expected = vectors(await embed(shared_client, DOG))
    np.testing.assert_array_equal(vectors(await embed(shared_client, ids, tokenizer=tokenizer)), expected)
    mixed = await embed(shared_client, [ids, RAIN], tokenizer=tokenizer)
    np.testing.assert_array_equal(vectors(mixed)[0], expected[0])


@pytest.mark.parametrize("ids", [[15339, 1917], [[15339, 1917], [9906]], [1]])
async def test_token_ids_of_nobody_knows_whose_are_refused_with_the_way_out(
    shared_client: httpx.AsyncClient, ids: Any
) -> None:
    answer = await shared_client.post("/v1/embeddings", json={"model": "embeddings", "input": ids})
    assert answer.status_code == 422
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


async def test_dimensions_may_be_said_but_not_cut(shared_client: httpx.AsyncClient) -> None:
    assert vectors(await embed(shared_client, DOG, dimensions=DIMS, user="someone")).shape == (1, DIMS)


async def test_sound_and_text_mix_in_every_form(shared_client: httpx.AsyncClient) -> None:
    wav = sounds.encoded(sounds.clip(), "wav-24")
    data = base64.b64encode(wav).decode()
    given = [
        DOG,
        data_uri(wav),
        {"audio": data},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
        {"type": "text", "text": RAIN},
        {"audio": data_uri(sounds.encoded(sounds.clip(), "mp3"), "audio/mpeg")},
        {"text": DOG},
        data_uri(pcm(noise(WINDOW)), PCM),
        "data: the plural of datum",
    ]
    rows = vectors(await embed(shared_client, given))
    alone = vectors(await hear(shared_client, wav))[0]
    np.testing.assert_allclose(rows[1:4], [alone] * 3, atol=1e-6)  # of batches of other sizes
    np.testing.assert_allclose(rows[[0, 4, 6]], [tiny_embedders.words(text) for text in (DOG, RAIN, DOG)], atol=1e-6)
    np.testing.assert_allclose(rows[7], tiny_embedders.sound(noise(WINDOW)), atol=1e-5)
    assert rows[5] @ alone > 0.9  # the same sound, less what mp3 leaves out
    np.testing.assert_allclose(rows[8], tiny_embedders.words("data: the plural of datum"), atol=1e-6)


@pytest.mark.parametrize("num_samples", [1, 24_000, WINDOW, WINDOW + 1, WINDOW + HOP, 500_000])
async def test_a_recording_is_cut_into_windows_of_which_the_last_ends_with_it(
    shared_client: httpx.AsyncClient, num_samples: int
) -> None:
    samples = noise(num_samples)
    body = await hear(shared_client, pcm(samples), "?window=true", PCM)
    (item,) = body["data"]
    count = 1 if num_samples <= WINDOW else -(-(num_samples - WINDOW) // HOP) + 1
    starts = [*(HOP * index for index in range(count - 1)), max(0, num_samples - WINDOW)]
    expected = np.stack([tiny_embedders.sound(samples[start : start + WINDOW]) for start in starts])
    for window, start, vector in zip(item["windows"], starts, expected, strict=True):
        assert window["start_s"] == start / SAMPLE_RATE
        assert window["end_s"] == min(start + WINDOW, num_samples) / SAMPLE_RATE
        np.testing.assert_allclose(window["embedding"], vector, atol=1e-5)
    np.testing.assert_allclose(item["embedding"], pooled(expected), atol=1e-5)
    usage = {"prompt_tokens": 0, "total_tokens": 0, "audio_seconds": num_samples / SAMPLE_RATE, "windows": count}
    assert body["usage"] == usage


@pytest.mark.parametrize("audio_format", sounds.FORMATS)
async def test_every_common_format_is_heard(shared_client: httpx.AsyncClient, audio_format: str) -> None:
    clip = sounds.clip()
    (row,) = vectors(await hear(shared_client, sounds.encoded(clip, audio_format), content_type="audio/whatever"))
    (reference,) = vectors(await hear(shared_client, sounds.encoded(clip, "flac")))
    assert row @ reference > 0.9


async def test_channels_are_mixed(shared_client: httpx.AsyncClient) -> None:
    left, right = noise(30_000, 1), noise(30_000, 2)
    stereo = np.stack([left, right], axis=1)
    (row,) = vectors(await hear(shared_client, pcm(stereo), content_type=f"{PCM};channels=2"))
    np.testing.assert_allclose(row, tiny_embedders.sound((left + right) / 2), atol=1e-5)


async def test_the_same_bytes_are_the_same_vector_whoever_asks_beside(shared_client: httpx.AsyncClient) -> None:
    texts = ["the wind " * count for count in range(1, 33)]
    clips = [data_uri(sounds.encoded(sounds.clip()[: 8000 + 777 * index], "wav")) for index in range(8)]
    alone = [vectors(await embed(shared_client, item))[0] for item in (*texts, *clips)]
    together = await asyncio.gather(*(embed(shared_client, item) for item in (*texts, *clips)))
    np.testing.assert_allclose([vectors(body)[0] for body in together], alone, atol=1e-5)
    np.testing.assert_allclose(
        vectors(await embed(shared_client, [*clips, *texts])), alone[32:] + alone[:32], atol=1e-5
    )


async def test_concurrent_requests_share_batches(make_settings: MakeSettings) -> None:
    async with in_memory(create_app(make_settings())) as client:
        await asyncio.gather(*(embed(client, DOG) for _ in range(64)))
        metrics = (await client.get("/metrics")).text
    (sizes,) = (
        line for line in metrics.splitlines() if re.match(r'auricle_batch_size_sum.*model="text_embedder"', line)
    )
    (count,) = (
        line for line in metrics.splitlines() if re.match(r'auricle_batch_size_count.*model="text_embedder"', line)
    )
    rows, batches = float(sizes.split()[1]), float(count.split()[1])
    assert rows == 64
    if "triton_url" not in make_settings().model_fields_set:  # a server does not say how it batched
        assert batches < 32


async def test_the_model_says_its_limits(shared_client: httpx.AsyncClient) -> None:
    model = (await shared_client.get("/v1/models/embeddings")).json()
    assert (model["space_id"], model["dims"]) == (tiny_embedders.SPACE_ID, DIMS)
    assert model["audio"] == {
        "sample_rate": 24_000,
        "window_s": 6.4,
        "hop_s": 3.2,
        "max_audio_s": pytest.approx(13_110.4),
        "frontend": "waveform",
    }
    assert (model["text"]["window_tokens"], model["text"]["stride_tokens"]) == (512, 448)
    assert model["text"]["tokenizer"] == tiny_embedders.TOKENIZER_SHA256
    assert model["limits"]["max_items"] == 2048


async def test_the_document_is_what_happens(shared_client: httpx.AsyncClient) -> None:
    document = (await shared_client.get("/openapi.json")).json()
    body = document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        answer = await shared_client.post("/v1/embeddings", json=example["value"])
        assert answer.status_code == 200, answer.text
        schema = document["components"]["schemas"]["EmbeddingsAnswer"]
        assert set(answer.json()) == set(schema["properties"]) == set(schema["example"])
    for path in ("/v1/embeddings", "/v1/audio/embeddings"):
        operation = document["paths"][path]["post"]
        assert {"400", "404", "408", "413", "415", "422", "500", "503", "504"} <= set(operation["responses"])
        for parameter in operation.get("parameters", []):
            assert parameter["description"]


async def test_a_triton_server_does_not_bring_the_tokenizer(tmp_path: Path, make_settings: MakeSettings) -> None:
    tiny.build(tmp_path)
    (tmp_path / "text_embedder" / "tokenizer.json").unlink()
    settings = make_settings().model_copy(update={"model_repository": tmp_path})
    async with in_memory(create_app(Settings(**settings.model_dump(exclude_unset=True)))) as client:
        text = await client.post("/v1/embeddings", json={"model": "embeddings", "input": DOG})
        await hear(client, pcm(noise(1000)), content_type=PCM)
    assert text.status_code == 503
    assert "tokenizer.json of text_embedder is not in this service's model repository" in text.json()["detail"]


async def test_a_model_that_takes_log_mel_is_given_what_clap_hears(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    tiny.hear_mel(tmp_path)
    samples = np.resize(sounds.clip(), 48_000 * 22)
    content_type = "audio/pcm;rate=48000;encoding=f32le"
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        long = await hear(client, pcm(samples), "?window=true", content_type)
        short = await hear(client, pcm(samples[:100_000]), content_type=content_type)
        described = (await client.get("/v1/models/embeddings")).json()["audio"]
    starts = [0, 240_000, 480_000, 576_000]
    parts = [samples[start : start + 480_000] for start in starts]
    windows = long["data"][0]["windows"]
    assert [window["start_s"] for window in windows] == [0, 5, 10, 12]
    for window, part in zip(windows, parts, strict=True):
        np.testing.assert_allclose(window["embedding"], tiny_embedders.heard(reference(part, CLAP)), atol=1e-5)
    np.testing.assert_allclose(vectors(short)[0], tiny_embedders.heard(reference(samples[:100_000], CLAP)), atol=1e-5)
    assert (described["frontend"], described["window_s"]) == ("mel", 10)
