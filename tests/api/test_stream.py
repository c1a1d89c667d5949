"""WS /v1/tokenize/stream, over a real socket."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import numpy as np
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from service.settings import Settings
from tests import sounds
from tests.api.conftest import MakeSettings, on_socket

CLIP = np.rint(np.resize(sounds.clip(), 16000 * 11 + 123) * 32767).astype("<i2")
FINISHED = 'auricle_requests_total{key="",method="WEBSOCKET",route="/v1/tokenize/stream"'  # in the metrics
START = {"type": "start", "format": "pcm_s16le", "sample_rate": 16000}


@asynccontextmanager
async def opened(client: httpx.AsyncClient, **start: Any) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    async with connect(f"ws://{client.base_url.host}:{client.base_url.port}/v1/tokenize/stream") as socket:
        await socket.send(json.dumps(START | start))
        yield socket, json.loads(await socket.recv())


async def send(socket: ClientConnection, data: bytes, size: int) -> None:
    for i in range(0, len(data), size):
        await socket.send(data[i : i + size])
    await socket.send('{"type": "end"}')


async def received(socket: ClientConnection) -> list[dict[str, Any]]:
    """Everything until the server closes."""
    messages = []
    with suppress(websockets.ConnectionClosedError):  # tests look at the code
        async for message in socket:
            messages.append(json.loads(message))
    return messages


async def offline(client: httpx.AsyncClient, query: str) -> dict[str, Any]:
    answer = await client.post(
        f"/v1/tokenize{query}", content=CLIP.tobytes(), headers={"Content-Type": "audio/pcm;rate=16000"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def client(make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with on_socket(make_settings(stream_idle_s=20)) as client:
        yield client


@pytest.mark.parametrize("size", [1, 640, 999, 1 << 17])
async def test_pieces_of_any_size_give_the_offline_tokens(client: httpx.AsyncClient, size: int) -> None:
    data = CLIP[: 3000 if size == 1 else None].tobytes()
    reference = await client.post(
        "/v1/tokenize?window_frames=256", content=data, headers={"Content-Type": "audio/pcm;rate=16000"}
    )
    async with opened(client) as (socket, started):
        assert (started["type"], started["window_frames"], started["codebook_size"]) == ("started", 256, 2**18)
        sending = asyncio.create_task(send(socket, data, size))
        messages = await received(socket)
        await sending
        assert socket.close_code == 1000
    assert [message["type"] for message in messages] == ["tokens"] * len(messages)
    assert [message["seq"] for message in messages] == list(range(len(messages)))
    assert [message["is_final"] for message in messages] == [False] * (len(messages) - 1) + [True]
    tokens = [token for message in messages for token in message["tokens"][0]]
    assert [tokens] == reference.json()["tokens"]
    assert messages[-1]["num_samples"] == len(data) // 2
    assert [message["first_frame"] for message in messages[:-1]] == [256 * i for i in range(len(messages) - 1)]


async def test_tokens_come_as_soon_as_their_window_is_final(client: httpx.AsyncClient) -> None:
    async with opened(client, window_frames=64) as (socket, _):
        await socket.send(CLIP[: 64 * 160 + 512].tobytes())
        first = json.loads(await socket.recv())  # the stream is still open, and nothing more was sent
        assert (first["seq"], first["num_frames"], first["is_final"]) == (0, 64, False)
        assert len(first["tokens"][0]) == 32


async def test_options_are_those_of_tokenize(client: httpx.AsyncClient) -> None:
    reference = await offline(client, "?window_frames=256&codebooks=3&vocab_offset=99")
    stereo = np.stack([CLIP, CLIP // 2], axis=1).astype(np.float32) / np.float32(32768)
    start = {"format": "pcm_f32le", "channels": 2, "channel": "left", "codebooks": 3, "vocab_offset": 99}
    async with opened(client, **start) as (socket, _):
        sending = asyncio.create_task(send(socket, stereo.astype("<f4").tobytes(), 4001))
        messages = await received(socket)
        await sending
    assert [[token for message in messages for token in message["tokens"][0]]] == reference["tokens"]


async def test_another_sample_rate_is_resampled_as_offline(client: httpx.AsyncClient) -> None:
    data = CLIP.tobytes()
    reference = await client.post(
        "/v1/tokenize?window_frames=256", content=data, headers={"Content-Type": "audio/pcm;rate=44100"}
    )
    async with opened(client, sample_rate=44100) as (socket, _):
        sending = asyncio.create_task(send(socket, data, 1234))
        messages = await received(socket)
        await sending
    assert [token for message in messages for token in message["tokens"][0]] == reference.json()["tokens"][0]


@pytest.mark.parametrize(
    ("first", "code", "slug"),
    [
        ("hello", 1007, "malformed-input"),
        (b"\0\0", 1007, "invalid-input"),
        ("{}", 1007, "invalid-input"),
        ('{"type": "end"}', 1007, "invalid-input"),
        (json.dumps(START | {"format": "mp3"}), 1007, "invalid-input"),
        (json.dumps(START | {"sample_rate": 1}), 1007, "invalid-input"),
        (json.dumps(START | {"channels": 200}), 1007, "invalid-input"),
        (json.dumps(START | {"codebooks": 4}), 1007, "invalid-input"),
        (json.dumps(START | {"window_frames": 7}), 1007, "invalid-input"),
        (json.dumps(START | {"window_frames": 1 << 40}), 1007, "invalid-input"),
        (json.dumps(START | {"more": 1}), 1007, "invalid-input"),
    ],
)
async def test_a_wrong_start_is_a_problem_and_a_close(
    client: httpx.AsyncClient, first: str | bytes, code: int, slug: str
) -> None:
    async with connect(f"ws://{client.base_url.host}:{client.base_url.port}/v1/tokenize/stream") as socket:
        await socket.send(first)
        (message,) = await received(socket)
        assert (message["type"], socket.close_code) == ("problem", code)
        assert message["problem"]["type"] == f"urn:problem-type:{slug}"


async def problem_after(socket: ClientConnection) -> tuple[int | None, int]:
    messages = await received(socket)
    assert messages[-1]["type"] == "problem"
    assert not any(message.get("is_final") for message in messages)
    return socket.close_code, messages[-1]["problem"]["status"]


async def test_bad_samples_and_a_bad_end_are_problems(client: httpx.AsyncClient) -> None:
    async with opened(client, format="pcm_f32le") as (socket, _):
        await socket.send(np.array([0, np.nan], "<f4").tobytes())
        assert await problem_after(socket) == (1007, 422)
    async with opened(client) as (socket, _):
        await socket.send(b"\0\0\0")
        await socket.send('{"type": "end"}')
        assert await problem_after(socket) == (1007, 400)
    async with opened(client) as (socket, _):
        await socket.send('{"type": "end"}')
        assert await problem_after(socket) == (1007, 422)
    async with opened(client) as (socket, _):
        await socket.send('{"type": "more"}')
        assert await problem_after(socket) == (1007, 422)


async def test_a_message_beyond_a_megabyte_is_not_taken(client: httpx.AsyncClient) -> None:
    async with opened(client) as (socket, _):
        await socket.send(bytes((1 << 20) + 2))
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009


async def test_more_audio_than_allowed_is_a_problem(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings(max_audio_s=5)) as client, opened(client) as (socket, _):
        for i in range(0, 16000 * 6, 8000):
            await socket.send(CLIP[i : i + 8000].tobytes())
        assert await problem_after(socket) == (1009, 413)


async def test_a_silent_client_is_let_go(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings(stream_idle_s=0.2)) as client, opened(client) as (socket, _):
        assert await problem_after(socket) == (1008, 408)


async def test_a_stream_without_its_models_is_refused_before_it_opens() -> None:
    async with on_socket(Settings(port=0, triton_url="127.0.0.1:9")) as client:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"ws://{client.base_url.host}:{client.base_url.port}/v1/tokenize/stream")
    assert refused.value.response.status_code == 503
    assert json.loads(refused.value.response.body)["type"] == "urn:problem-type:backend-unavailable"


async def test_a_client_that_vanishes_leaves_nothing_behind(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auricle.request")
    async with on_socket(make_settings()) as client:
        async with opened(client) as (socket, _):
            await socket.send(CLIP.tobytes())
            socket.transport.abort()
        async with asyncio.timeout(20):
            while FINISHED not in (await client.get("/metrics")).text:
                pass
        assert "auricle_requests_in_flight 1.0" in (await client.get("/metrics")).text
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_client_that_does_not_read_is_slowed_down_and_then_let_go(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with on_socket(make_settings(stream_idle_s=0.5, max_inflight_windows=2)) as client:
        url = f"ws://{client.base_url.host}:{client.base_url.port}/v1/tokenize/stream"
        async with connect(url, max_queue=1) as socket:
            wordy = {"window_frames": 1024, "codebooks": 18, "vocab_offset": 1 << 40}  # 130 kB of text a window
            await socket.send(json.dumps(START | wordy))
            sending = asyncio.create_task(send(socket, CLIP.tobytes() * 1000, 1 << 16))  # and receives nothing
            async with asyncio.timeout(20):
                while FINISHED not in (await client.get("/metrics")).text:
                    pass
            socket.transport.abort()
            with pytest.raises(websockets.ConnectionClosed):
                await sending
    assert not [record for record in caplog.records if record.exc_info]


async def test_more_streams_than_may_be_open_are_refused_before_they_begin(make_settings: MakeSettings) -> None:
    async with on_socket(make_settings(max_streams=1)) as client:
        async with opened(client):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with opened(client):
                    pass
            assert refused.value.response.status_code == 503
            assert b"overloaded" in refused.value.response.body
        async with asyncio.timeout(10):  # the first has gone: its place is free as soon as the server has seen it
            while True:
                with suppress(websockets.InvalidStatus):
                    async with opened(client):
                        break
