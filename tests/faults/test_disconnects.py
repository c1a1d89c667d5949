"""Clients that vanish leave no task, thread, descriptor or place in a queue behind."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import uvicorn

from service.app import create_app
from service.settings import Settings
from tests import sounds, tiny
from tests.bench.process import family
from tests.faults.vanish import vanish
from tests.until import until

WORKERS, QUEUED = 2, 6


@dataclass
class Gateway:
    """On a real socket, in this very process, so that what it holds can be counted."""

    port: int
    client: httpx.AsyncClient

    async def tokenize(self, body: bytes) -> httpx.Response:
        return await self.client.post("/v1/tokenize", content=body, headers={"Content-Type": "audio/flac"})

    async def ready(self) -> bool:
        return (await self.client.get("/readyz")).status_code == 200

    async def idle(self) -> bool:
        lines = (await self.client.get("/metrics")).text.splitlines()
        gauges = ("auricle_requests_in_flight 1.0", 'auricle_queue_depth{model="tokenizer_encoder"} 0.0')
        return all(gauge in lines for gauge in gauges)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    settings = Settings(
        model_repository=tiny.build(tmp_path), preprocess_workers=WORKERS, max_queued_jobs=QUEUED, model_poll_s=0
    )
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    unkept = httpx.Limits(max_keepalive_connections=0)  # a kept connection would be counted, or not
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=unkept) as client:
        gateway = Gateway(port, client)
        await until(gateway.ready)
        yield gateway
    server.should_exit = True
    await serving


def held() -> tuple[int, int, int]:
    """Tasks, threads, descriptors; these also of the processes that decode, where the uploads are open as well."""
    descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in family(os.getpid()))
    return len(asyncio.all_tasks()), threading.active_count(), descriptors


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors in /proc")
async def test_clients_that_vanish_leave_nothing_behind(gateway: Gateway) -> None:
    body = sounds.encoded(sounds.clip(), "flac")
    resting = len(asyncio.all_tasks())
    right = (await gateway.tokenize(body)).json()
    await vanish(gateway.port, "/v1/tokenize", body, count=40, seed=1)  # starts every thread that there will be

    await until(gateway.idle)
    # the last connections close a moment after their requests are over
    await until(lambda: len(asyncio.all_tasks()) <= resting)
    before = held()
    await vanish(gateway.port, "/v1/tokenize", body, count=120, seed=2)
    await until(gateway.idle)
    await until(lambda: all(now <= then for now, then in zip(held(), before, strict=True)))

    async def every_place_is_free() -> bool:
        answers = await asyncio.gather(*(gateway.tokenize(body) for _ in range(WORKERS + QUEUED)))
        answered = [answer.json() for answer in answers if answer.status_code == 200]
        assert all(answer == right for answer in answered)
        return len(answered) == len(answers)

    await until(every_place_is_free)  # what a thread has begun for nobody keeps its place until it ends
