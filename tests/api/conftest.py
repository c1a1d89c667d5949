"""The whole application over each backend: in memory for requests, on a socket for what needs one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from service.app import create_app
from service.cli.server import Server
from service.settings import Settings
from tests import tiny
from tests.conftest import StartTriton

MakeSettings = Callable[..., Settings]
Running = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", params=["embedded", pytest.param("tritonserver", marks=pytest.mark.tritonserver)])
def make_settings(request: pytest.FixtureRequest, repository: Path) -> MakeSettings:
    """Settings of a service over the tiny models, on each backend in turn."""
    if request.param == "embedded":
        return lambda **options: Settings(port=0, model_repository=repository, **options)
    start: StartTriton = request.getfixturevalue("tritonserver")
    server = start(repository)
    return lambda **options: Settings(port=0, triton_url=server.url, model_repository=repository, **options)


@asynccontextmanager
async def in_memory(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The application with its models loaded, without a socket."""
    async with app.router.lifespan_context(app):
        await app.state.runtime.started
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield client


async def started(settings: Settings) -> tuple[Server, str]:
    """The server as `auricle serve` runs it, in this loop, and its address."""
    server = Server(settings)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    host, port = server.servers[0].sockets[0].getsockname()
    return server, f"http://{host}:{port}"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    """The server, and a client of it."""
    server, url = await started(settings)
    try:
        async with httpx.AsyncClient(base_url=url) as client:
            yield server, client
    finally:
        await server.shutdown()


@asynccontextmanager
async def on_socket(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(settings) as (_, client):
        yield client


@pytest.fixture
async def client(make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with in_memory(create_app(make_settings())) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_client(make_settings: MakeSettings) -> AsyncIterator[httpx.AsyncClient]:
    """One application for all tests of a file, which run in one loop: `pytest.mark.asyncio(loop_scope="module")`."""
    async with in_memory(create_app(make_settings())) as client:
        yield client
