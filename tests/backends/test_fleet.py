"""The watch over servers, without a server: nothing ends it."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from service.backends.base import Unobserved
from service.backends.triton.fleet import Fleet
from service.backends.triton.server import Server
from service.errors import BackendUnavailable, DeadlineExceeded
from service.repository import ModelConfig, TensorSpec
from tests.until import until

SPEC = TensorSpec("x", np.dtype(np.float32), (1,))
CONFIG = ModelConfig("add", "onnxruntime", 0, (SPEC,), (SPEC,), versions=(1,))
X = {"x": np.zeros(1, np.float32)}


class Client:
    """Of a server that has no models, lives as long as it is told to, and answers no request."""

    def __init__(self) -> None:
        self.live = True
        self.late = asyncio.Event()  # a request has met its deadline, and is still here
        self.let_go = asyncio.Event()

    async def is_server_live(self, **_: object) -> bool:
        return self.live

    async def get_system_shared_memory_status(self, **_: object) -> SimpleNamespace:
        return SimpleNamespace(regions={})

    async def get_model_repository_index(self, **_: object) -> SimpleNamespace:
        return SimpleNamespace(models=[])

    async def infer(self, *_: object, **__: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.late.set()
            await self.let_go.wait()

    async def close(self) -> None:
        pass


async def test_a_server_is_given_up_also_while_one_of_its_requests_meets_its_deadline() -> None:
    client, now = Client(), asyncio.get_running_loop().time()
    server = Server("a:1", client, Unobserved())
    requests = [asyncio.create_task(server.infer(CONFIG, X, ["x"], deadline)) for deadline in (now, now + 3600)]
    await client.late.wait()
    try:
        server.abandon()
    finally:
        client.let_go.set()
    errors = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(error) for error in errors] == [DeadlineExceeded, BackendUnavailable]
    await server.close()


async def test_whatever_goes_wrong_with_a_server_it_is_watched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Server) -> None:
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr(Server, "abandon", fail)
    client = Client()
    server, other = Server("a:1", client, Unobserved()), Server("b:1", Client(), Unobserved())
    fleet = Fleet([server, other], 0, Unobserved())
    await fleet.start()
    client.live = False
    server.doubt.set()
    await until(lambda: not server.up)
    client.live = True
    await until(lambda: server.up, within_s=10)
    await fleet.close()
