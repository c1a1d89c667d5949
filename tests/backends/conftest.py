"""The two backends over the same repository, as one fixture for the contract suite."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from service.backends.base import Backend, Unobserved
from service.backends.embedded.backend import Embedded
from service.backends.triton.backend import Triton
from service.repository import load
from tests.backends import models
from tests.conftest import StartTriton
from tests.tritonserver.server import TritonServer


@dataclass
class Record(Unobserved):
    """An observer that keeps what it is told."""

    batches: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    reloads: list[tuple[str, int, str]] = field(default_factory=list)
    ejected: list[str] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    shared: dict[str, int] = field(default_factory=dict)

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        assert queue_s >= 0
        assert infer_s > 0
        self.batches.append((model, batch_size))

    def on_refused(self, model: str, reason: str) -> None:
        self.refused.append((model, reason))

    def on_queue(self, model: str, depth: int) -> None:
        self.depths.append(depth)

    def on_reload(self, model: str, version: int, outcome: str) -> None:
        self.reloads.append((model, version, outcome))

    def on_ejected(self, address: str) -> None:
        self.ejected.append(address)

    def on_retry(self, address: str) -> None:
        self.retried.append(address)

    def on_shared_memory(self, address: str, size: int) -> None:
        self.shared[address] = size


@dataclass
class Subject:
    """A backend under test, and what it told its observer."""

    backend: Backend
    record: Record


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.build(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def server(tritonserver: StartTriton, repository: Path) -> TritonServer:
    return tritonserver(repository)


@pytest.fixture(params=["embedded", pytest.param("tritonserver", marks=pytest.mark.tritonserver)])
async def subject(request: pytest.FixtureRequest, repository: Path) -> AsyncIterator[Subject]:
    record = Record()
    backend: Backend
    if request.param == "embedded":
        backend = Embedded(load(repository), observer=record)
    else:
        backend = Triton([request.getfixturevalue("server").url], observer=record)
    await backend.start()
    yield Subject(backend, record)
    await backend.close()


@pytest.fixture
def backend(subject: Subject) -> Backend:
    return subject.backend
