"""Fixtures that every floor shares: real servers over any repository."""

import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.milvus.server import MilvusServer
from tests.node import install
from tests.tritonserver.server import TritonServer

StartTriton = Callable[..., TritonServer]


@pytest.fixture(scope="session")
def tritonserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTriton]:
    """`tritonserver(repository, **options)` starts the real server over that folder; ended with the session."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the tritonserver wheel is for linux x86_64")
    started: list[TritonServer] = []

    def start(repository: Path, **options: Any) -> TritonServer:
        server = TritonServer(repository, tmp_path_factory.mktemp("tritonserver"), **options)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    """The real Milvus server."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        pytest.skip("the Milvus wheel is for linux x86_64")
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def node() -> None:
    """Node.js with the packages that `tests.node.install.run` needs."""
    if not install.available():
        pytest.skip("node and npm are not installed")
    install.packages()
