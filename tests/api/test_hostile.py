"""What a client could send to hurt: each is a clear 4xx, and memory stays flat."""

import asyncio
import io
import re
import resource
import struct
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.settings import Settings
from tests import sounds, tiny
from tests.api.conftest import MakeSettings, in_memory, on_socket
from tests.api.test_detokenize import problem


def wav(sample_rate: int = 16000, channels: int = 1, frames: int = 1600) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, 2, sample_rate, 0, "NONE", ""))
        file.writeframes(np.ones(frames * channels, "<i2").tobytes())
    return buffer.getvalue()


def float_pcm(*samples: float) -> bytes:
    return np.array(samples, "<f4").tobytes()


PCM = "audio/pcm;rate=16000;encoding=f32le"
CLIP = sounds.encoded(sounds.clip(), "flac")

HOSTILE = {
    "nothing": (b"", "audio/wav", 400, "malformed-input"),
    "a wav without samples": (wav(frames=0), "audio/wav", 422, "invalid-input"),
    "NaN": (float_pcm(0, float("nan"), 0), PCM, 422, "invalid-input"),
    "infinity": (float_pcm(0, float("inf"), 0), PCM, 422, "invalid-input"),
    "absurd amplitude": (float_pcm(0, 1e30, 0), PCM, 422, "invalid-input"),
    "1 Hz": (wav(sample_rate=1), "audio/wav", 422, "invalid-input"),
    "10 MHz": (wav(sample_rate=10_000_000), "audio/wav", 422, "invalid-input"),
    "PCM at 1 Hz": (bytes(3200), "audio/L16;rate=1", 422, "invalid-input"),
    "PCM without a rate": (bytes(3200), "audio/L16", 422, "invalid-input"),
    "PCM of half a sample": (bytes(3201), "audio/L16;rate=16000", 400, "malformed-input"),
    "200 channels": (wav(channels=200), "audio/wav", 422, "invalid-input"),
    "PCM of 200 channels": (bytes(4000), "audio/L16;rate=16000;channels=200", 422, "invalid-input"),
    "a flac cut short": (CLIP[: len(CLIP) // 2], "audio/flac", 400, "malformed-input"),
    "a wav cut short": (wav(frames=16000)[:-1000], "audio/wav", 400, "malformed-input"),
    "a header alone": (CLIP[:42], "audio/flac", 400, "malformed-input"),
    "an image that says it is audio": (b"\x89PNG\r\n\x1a\n" + bytes(500), "audio/wav", 415, "unsupported-media"),
    "audio that says it is an image": (CLIP, "image/png", 415, "unsupported-media"),
    "JSON": (b'{"audio": "UklGRg=="}', "application/json", 415, "unsupported-media"),
    "text": (b"hello", "text/plain", 415, "unsupported-media"),
    "a playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "audio/mpegurl", 415, "unsupported-media"),
    "a concat script": (b"ffconcat version 1.0\nfile /etc/passwd\n", "audio/wav", 415, "unsupported-media"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_body_is_a_clear_refusal(client: httpx.AsyncClient, name: str) -> None:
    content, content_type, status, slug = HOSTILE[name]
    answer = await client.post("/v1/tokenize", content=content, headers={"Content-Type": content_type})
    assert problem(answer) == (status, slug), answer.text
    assert (await client.get("/readyz")).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        *("codebooks=0", "codebooks=4", "codebooks=x", "codebooks=99999999999999999999", "channel=middle"),
        *("window_frames=0", "window_frames=7", "window_frames=2048", "vocab_offset=-1", "vocab_offset=1e99", "what=1"),
    ],
)
async def test_a_wrong_option_is_named(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.post(f"/v1/tokenize?{query}", content=CLIP)
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert query.partition("=")[0] in answer.text


async def test_the_right_channel_of_mono_audio_is_refused(client: httpx.AsyncClient) -> None:
    assert problem(await client.post("/v1/tokenize?channel=right", content=CLIP)) == (422, "invalid-input")


async def test_audio_beyond_the_limit_is_refused_by_what_it_decodes_to(make_settings: MakeSettings) -> None:
    silence = sounds.encoded(np.zeros(16000 * 120, np.float32), "flac")
    assert len(silence) < 50_000  # two minutes of silence are a few bytes
    async with in_memory(create_app(make_settings(max_audio_s=60))) as client:
        answer = await client.post("/v1/tokenize", content=silence)
    assert problem(answer) == (413, "payload-too-large")


async def test_a_tiny_file_that_claims_hours_costs_nothing(client: httpx.AsyncClient) -> None:
    header = bytearray(wav(frames=100))
    struct.pack_into("<I", header, 40, 0x7FFFF000 - 2)
    answer = await client.post("/v1/tokenize", content=bytes(header))
    assert problem(answer) == (400, "malformed-input")


async def test_a_body_that_announces_too_much_is_refused_before_it_is_read(make_settings: MakeSettings) -> None:
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    async with in_memory(create_app(make_settings(max_body_bytes=1000))) as client:
        answer = await client.post("/v1/tokenize", content=body(), headers={"Content-Length": "1001"})
    assert problem(answer) == (413, "payload-too-large")


async def test_a_body_that_announces_nothing_is_counted_while_it_is_read(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings(max_body_bytes=1000)) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write((b"64\r\n" + bytes(100) + b"\r\n") * 11)  # and no end
        answer = await reader.read()  # to its end: the server closes
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"urn:problem-type:payload-too-large" in answer


async def test_a_counted_body_too_large_is_answered(make_settings: MakeSettings) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield bytes(100)

    async with in_memory(create_app(make_settings(max_body_bytes=1000))) as client:
        answer = await client.post("/v1/tokenize", content=body())
    assert problem(answer) == (413, "payload-too-large")


async def test_a_client_that_never_ends_its_body_is_given_up_on(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings(body_timeout_s=0.2)) as client:
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nRIFF")
        answer = await reader.read()  # to its end: the server closes
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"urn:problem-type:request-timeout" in answer


async def test_a_content_length_that_is_no_number_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tokenize", content=CLIP, headers={"Content-Length": "many"})
    assert problem(answer) == (400, "bad-request")


async def test_a_queue_that_is_full_says_when_to_come_back(make_settings: MakeSettings) -> None:
    app = create_app(make_settings(preprocess_workers=1, max_queued_jobs=0))
    async with in_memory(app) as client:
        answers = await asyncio.gather(*(client.post("/v1/tokenize", content=CLIP) for _ in range(8)))
        metrics = (await client.get("/metrics")).text
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 0 < len(refused) < 8
    for answer in refused:
        assert problem(answer) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    assert f'auricle_problems_total{{reason="overloaded",route="/v1/tokenize"}} {len(refused)}.0' in metrics


async def test_no_answer_in_time_is_a_504(make_settings: MakeSettings) -> None:
    async with in_memory(create_app(make_settings(deadline_s=1e-6))) as client:
        answer = await client.post("/v1/tokenize", content=CLIP)
    assert problem(answer) == (504, "deadline-exceeded")


async def test_a_graph_that_fails_is_a_500_without_its_words(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    tiny.break_vocoder(tmp_path)
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        answer = await client.post("/v1/detokenize", json={"tokens": [[1, 2, 3, 4]]})
    assert problem(answer) == (500, "inference-failed")
    assert "Reshape" not in answer.text


async def test_a_client_that_leaves_takes_its_work_with_it(make_settings: MakeSettings) -> None:
    settings = make_settings(preprocess_workers=1, max_queued_jobs=0, max_inflight_windows=1)
    long = wav(frames=16000 * 1800)
    batches = re.compile(r'auricle_batch_size_count\{.*model="tokenizer_encoder"\} (\d+)')
    async with on_socket(settings) as client, asyncio.timeout(60):

        async def metrics_with(pattern: re.Pattern[str]) -> re.Match[str]:
            while not (found := pattern.search((await client.get("/metrics")).text)):
                pass
            return found

        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(long) + long)
        await writer.drain()
        await metrics_with(batches)  # its first window is through
        writer.close()
        await writer.wait_closed()
        await metrics_with(re.compile('requests_total.*route="/v1/tokenize",status="499"'))
        assert int((await metrics_with(batches))[1]) < 100  # of 176 windows
        while (await client.post("/v1/tokenize", content=CLIP)).status_code != 200:  # the only place comes free
            pass


async def test_long_audio_takes_no_memory_of_its_length(repository: Path) -> None:
    minutes = 30  # 58 MB of samples in the file, 115 MB as floats, 92 MB as mel
    chunk = np.random.default_rng(0).integers(-3000, 3000, 16000 * 30, dtype="<i2").tobytes()

    async def body(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield chunk

    async def round_trip(client: httpx.AsyncClient, count: int) -> int:
        """Samples that come back from `count` times half a minute, none of which is kept here."""
        tokens = await client.post(
            "/v1/tokenize", content=body(count), headers={"Content-Type": "audio/pcm;rate=16000"}, timeout=None
        )
        assert tokens.status_code == 200, tokens.text
        size = 0
        headers = {"Content-Type": "application/json"}
        async with client.stream(
            "POST", "/v1/detokenize", content=tokens.content, headers=headers, timeout=None
        ) as answer:
            assert answer.status_code == 200
            async for part in answer.aiter_bytes():
                size += len(part)
        return (size - 44) // 2

    async with on_socket(Settings(port=0, model_repository=repository)) as client:
        await round_trip(client, 4)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert await round_trip(client, minutes * 2) == minutes * 60 * 16000
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert (after - before) / 1024 < 30  # MB
