"""What a client could send to be embedded to hurt: each is a clear 4xx, and memory stays flat."""

import base64
import json
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import onnx.parser
import pytest

from service.app import create_app
from service.settings import Settings
from tests import sounds, tiny, tiny_embedders
from tests.api.conftest import MakeSettings, in_memory, on_socket
from tests.api.test_detokenize import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKENIZER = tiny_embedders.TOKENIZER_SHA256


def body(given: Any, **options: Any) -> bytes:
    return json.dumps({"model": "embeddings", "input": given, **options}).encode()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


NOISE = np.random.default_rng(0).bytes(5000)
NAN = np.array([0, np.nan], "<f4").tobytes()
PCM = "audio/pcm;rate=16000;encoding=f32le"

HOSTILE = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "brackets without end": (b'{"model":"embeddings","input":' + b"[" * 100_000, 400),
    "half a character": (b'{"model":"embeddings","input":"\\ud800"}', 400),
    "no UTF-8": (b'{"model":"embeddings","input":"\xff"}', 400),
    "no input": (b'{"model":"embeddings"}', 422),
    "no model": (b'{"input":"a"}', 422),
    "another model": (body("a", model="text-embedding-3-small"), 404),
    "an empty list": (body([]), 422),
    "10 000 items": (body(["a"] * 10_000), 422),
    "an empty text": (body(["a", ""]), 422),
    "only spaces": (body(["a", " \n "]), 422),
    "null": (body(None), 422),
    "a number": (body(1), 422),
    "numbers that are no ids": (body([1.5, 2]), 422),
    "NaN": (b'{"model":"embeddings","input":[NaN]}', 422),
    "a truth": (body([True, False]), 422),
    "lists in lists": (body([["a"]]), 422),
    "ids in lists in lists": (body([[[1]]], tokenizer=TOKENIZER), 422),
    "no ids": (body([[]], tokenizer=TOKENIZER), 422),
    "huge ids": (body([1, 10**30], tokenizer=TOKENIZER), 422),
    "negative ids": (body([-1], tokenizer=TOKENIZER), 422),
    "too many ids": (body([5] * 513, tokenizer=TOKENIZER), 422),
    "a wrong dimension": (body("a", dimensions=8), 422),
    "a huge dimension": (body("a", dimensions=10**40), 422),
    "no dimension": (body("a", dimensions=0), 422),
    "another encoding": (body("a", encoding_format="md5"), 422),
    "a field of nobody": (body("a", input_type="query"), 422),
    "base64 of noise": (body({"audio": b64(NOISE)}), 415),
    "noise as a data URI": (body(f"data:audio/wav;base64,{b64(NOISE)}"), 415),
    "a picture": (body(f"data:image/png;base64,{b64(NOISE)}"), 415),
    "no base64": (body({"audio": "*" * 1000}), 400),
    "base64 beyond ASCII": (body({"audio": "é" * 1000}), 400),
    "no audio at all": (body({"audio": ""}), 422),
    "a flac cut short": (body({"audio": b64(sounds.encoded(sounds.clip(), "flac")[:5000])}), 400),
    "samples that are no numbers": (body(f"data:{PCM};base64,{b64(NAN)}"), 422),
    "a URL to fetch": (body({"type": "audio_url", "audio_url": {"url": "http://127.0.0.1/a.wav"}}), 422),
    "a URL as audio": (body({"audio": "http://127.0.0.1/a.wav"}), 400),
    "a part without its data": (body({"type": "input_audio", "input_audio": {"url": "file:///etc/passwd"}}), 422),
    "an object of nothing": (body({}), 422),
    "many characters": (body(["x" * 50_000] * 42), 413),
    "many tokens": (body(["a " * 50_000] * 7), 413),
    "many commas": (body([[1] * 300_000, [1] * 300_000]), 413),
    "17 MB of text": (body("a" * (17 << 20)), 413),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_request_is_a_clear_refusal(shared_client: httpx.AsyncClient, name: str) -> None:
    content, status = HOSTILE[name]
    answer = await shared_client.post("/v1/embeddings", content=content)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    refusal = answer.json()
    assert refusal["error"]["message"] == refusal["detail"]
    assert refusal["error"]["type"] == "invalid_request_error"
    assert len(answer.content) < 4000


async def test_other_routes_answer_plain_problems(shared_client: httpx.AsyncClient) -> None:
    answer = await shared_client.post("/v1/tokenize", content=NOISE)
    assert problem(answer) == (415, "unsupported-media")
    assert "error" not in answer.json()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (["a", ""], "/input/1"),
        (["a", {"audio": b64(NOISE)}, "a"], "/input/1"),
        ([{"audio": b64(sounds.encoded(sounds.clip(), "wav"))}, "a", "  "], "/input/2"),
        ([{"audio": b64(sounds.encoded(sounds.clip(), "wav"))}, {"audio": "*"}], "/input/1"),
        ([{"type": "text"}], "/input/0"),
    ],
)
async def test_the_item_at_fault_is_named(shared_client: httpx.AsyncClient, given: Any, fault: str) -> None:
    answer = await shared_client.post("/v1/embeddings", content=body(given))
    assert answer.json()["errors"][0]["pointer"].startswith(fault), answer.text
    assert answer.json()["error"]["param"] == "input"


@pytest.mark.parametrize("query", ["window=perhaps", "encoding_format=md5", "what=1"])
async def test_a_wrong_option_is_named(shared_client: httpx.AsyncClient, query: str) -> None:
    content = sounds.encoded(sounds.clip(), "wav")
    answer = await shared_client.post(f"/v1/audio/embeddings?{query}", content=content)
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert query.partition("=")[0] in answer.text


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b"", "audio/wav", 400),
        (NOISE, "audio/wav", 415),
        (b'{"input": "a"}', "application/json", 415),
        (NAN, PCM, 422),
        (sounds.encoded(sounds.clip(), "flac")[:5000], "audio/flac", 400),
    ],
)
async def test_a_hostile_recording_is_a_clear_refusal(
    shared_client: httpx.AsyncClient, content: bytes, content_type: str, status: int
) -> None:
    answer = await shared_client.post("/v1/audio/embeddings", content=content, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"] == answer.json()["detail"]


async def test_long_audio_is_refused_with_the_limit_and_never_cut(make_settings: MakeSettings) -> None:
    minute = sounds.encoded(np.zeros(16000 * 60, np.float32), "flac")  # a few bytes
    async with in_memory(create_app(make_settings(max_embedding_audio_s=100))) as client:
        limit = (await client.get("/v1/models/embeddings")).json()["audio"]["max_audio_s"]
        one = await client.post("/v1/embeddings", content=body({"audio": b64(minute)}))
        two = await client.post("/v1/embeddings", content=body([{"audio": b64(minute)}] * 2))
        long = await client.post(
            "/v1/audio/embeddings", content=sounds.encoded(np.zeros(16000 * 101, np.float32), "flac")
        )
    assert limit == 100
    assert one.status_code == 200
    for refused in (two, long):
        assert problem(refused) == (413, "payload-too-large")
        assert "100 s" in refused.json()["detail"]


async def test_the_models_own_limit_is_stated_and_kept(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    config = tmp_path / "audio_embedder" / "config.pbtxt"
    config.write_text(config.read_text().replace('"4096"', '"3"'))
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        limit = (await client.get("/v1/models/embeddings")).json()["audio"]["max_audio_s"]
        answers = [
            await client.post("/v1/audio/embeddings", content=sounds.encoded(np.zeros(16000 * s, np.float32), "aac"))
            for s in (12, 14)  # a header of aac tells no length
        ]
    assert limit == 12.8
    assert [answer.status_code for answer in answers] == [200, 413]
    assert "12.8 s" in answers[1].json()["detail"]


async def test_vectors_that_are_no_numbers_never_leave(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    graph = """
    <ir_version: 8, opset_import: ["": 18]>
    text (int32[B, T] input_ids, int32[B, T] attention_mask) => (float[B, 16] embedding) {
        sum = Add(input_ids, attention_mask)
        positive = Cast<to = 1>(sum)
        negative = Neg(positive)
        root = Sqrt(negative)
        rows = Constant<value = int64[2] {-1, 16}>()
        embedding = Reshape(root, rows)
    }
    """
    onnx.save(onnx.parser.parse_model(graph), tmp_path / "text_embedder" / "1" / "model.onnx")
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        answer = await client.post("/v1/embeddings", content=body("a dog"))
    assert problem(answer) == (500, "inference-failed")
    assert answer.json()["error"]["type"] == "server_error"


async def test_encoders_of_different_spaces_are_not_served_together(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    config = tmp_path / "audio_embedder" / "config.pbtxt"
    config.write_text(config.read_text().replace(tiny_embedders.SPACE_ID, "000000000000"))
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        answer = await client.post("/v1/embeddings", content=body("a dog"))
    assert problem(answer) == (503, "backend-unavailable")
    assert "one space" in answer.json()["detail"]


async def test_large_requests_and_long_audio_take_no_memory_of_their_size(repository: Path) -> None:
    second = np.random.default_rng(0).integers(-3000, 3000, 24_000, dtype="<i2").tobytes()

    async def recording(seconds: int) -> AsyncIterator[bytes]:
        for _ in range(seconds):
            yield second

    async def text(megabytes: int) -> AsyncIterator[bytes]:
        yield b'{"model": "embeddings", "input": "'
        for _ in range(megabytes):
            yield b"a" * (1 << 20)
        yield b'"}'

    async def hear(client: httpx.AsyncClient, seconds: int) -> int:
        headers = {"Content-Type": "audio/pcm;rate=24000"}
        answer = await client.post(
            "/v1/audio/embeddings?encoding_format=base64", content=recording(seconds), headers=headers, timeout=None
        )
        assert answer.status_code == 200, answer.text
        windows: int = answer.json()["usage"]["windows"]
        return windows

    async with on_socket(Settings(port=0, model_repository=repository)) as client:
        await hear(client, 120)
        await client.post("/v1/embeddings", content=text(15), timeout=None)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert await hear(client, 1800) == 562  # 173 MB as floats
        refused = await client.post("/v1/embeddings", content=text(100), timeout=None)
        assert problem(refused) == (413, "payload-too-large")
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 30  # MB
