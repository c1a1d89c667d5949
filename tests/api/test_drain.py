"""The end of the service: it says that it goes, finishes what it has begun, and cuts off what does not end in time.

What SIGTERM does to a process is in tests/e2e; this is what it calls.
"""

import asyncio
import json
import logging
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from service.settings import Settings
from tests import sounds, tiny
from tests.api.conftest import started

SAMPLES = np.rint(sounds.clip() * 32767).astype("<i2").tobytes()


async def stream(url: str) -> ClientConnection:
    """An open stream that has been answered."""
    opened = await connect(url.replace("http", "ws") + "/v1/tokenize/stream", compression=None)
    await opened.send(json.dumps({"type": "start", "format": "pcm_s16le", "sample_rate": 16000}))
    assert json.loads(await opened.recv())["type"] == "started"
    return opened


async def opened(url: str, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with a small window on which a request was sent."""
    parts = urlsplit(url)
    plain = socket.create_connection((str(parts.hostname), int(parts.port or 0)))
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader, writer = await asyncio.open_connection(sock=plain, limit=4096)
    writer.write(request)
    return reader, writer


async def gone(url: str) -> None:
    """Returns when nothing listens there any more."""
    parts = urlsplit(url)
    while True:
        try:
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        except ConnectionError:
            return
        writer.close()


async def test_readiness_goes_first_and_work_is_still_taken_for_the_delay(repository: Path) -> None:
    server, url = await started(Settings(port=0, model_repository=repository, shutdown_delay_s=600))
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.get("/readyz")).status_code == 200
        ending = asyncio.create_task(server.shutdown())
        while (answer := await client.get("/readyz")).status_code == 200:
            pass
        assert (answer.status_code, answer.json()["detail"]) == (503, "The service is shutting down.")
        body = sounds.encoded(sounds.clip(), "flac")
        assert (await client.post("/v1/tokenize", content=body)).status_code == 200
        assert not ending.done()
    server.force_exit = True  # as a second Ctrl-C does; uvicorn then leaves the rest to the end of the process
    await ending
    await server.lifespan.shutdown()


async def test_a_stream_goes_on_to_its_end_while_nothing_new_is_taken(repository: Path) -> None:
    server, url = await started(Settings(port=0, model_repository=repository, shutdown_grace_s=600))
    open_stream = await stream(url)
    ending = asyncio.create_task(server.shutdown())
    await gone(url)
    await open_stream.send(SAMPLES)
    await open_stream.send('{"type": "end"}')
    messages = [json.loads(message) async for message in open_stream]
    assert messages[-1]["is_final"]
    assert messages[-1]["num_samples"] == len(SAMPLES) // 2
    await ending


async def test_what_does_not_end_in_time_is_cut_off_with_words_and_without_tracebacks(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, url = await started(Settings(port=0, model_repository=repository, shutdown_grace_s=0.3))
    tokens = json.dumps({"model_digest": tiny.DIGEST, "num_samples": 1280 * 2000, "tokens": [[0] * 8000]}).encode()
    head = b"POST /v1/detokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    _, idle = await opened(url, b"GET /livez HTTP/1.1\r\nHos")
    answer, sender = await opened(url, head % len(tokens) + tokens[:1000])  # and no more
    answered, taker = await opened(url, head % len(tokens) + tokens)
    assert (await answered.readline()).startswith(b"HTTP/1.1 200")  # and no more of the megabytes that follow
    silent = await stream(url)
    async with asyncio.timeout(30):
        await server.shutdown()
        with pytest.raises(ConnectionClosedError) as closed:
            await silent.recv()
        told = await answer.read()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012  # the service restarts
    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in told.lower()
    assert json.loads(told.partition(b"\r\n\r\n")[2])["type"] == "urn:problem-type:service-unavailable"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert "3 requests did not end within 0.3 s" in caplog.messages
    for writer in (idle, sender, taker):
        writer.close()
