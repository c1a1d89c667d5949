"""The two backends over the same repository, as one fixture for the contract suite."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tritonclient.grpc.aio import InferenceServerClient

from service.backends.base import Backend
from service.backends.embedded import Embedded
from service.backends.triton import Triton
from service.repository import load
from tests.backends import models
from tests.conftest import StartTriton
from tests.tritonserver.server import TritonServer


@dataclass
class Record:
    """An observer that keeps what it is told."""

    batches: list[tuple[str, int]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        assert queue_s >= 0
        assert infer_s > 0
        self.batches.append((model, batch_size))

    def on_refused(self, model: str, reason: str) -> None:
        self.refused.append((model, reason))

    def on_queue(self, model: str, depth: int) -> None:
        self.depths.append(depth)


@dataclass
class Subject:
    """A backend under test, and the number of rows that a model has really computed."""

    backend: Backend
    record: Record
    computed: Callable[[str], Awaitable[int]]


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
        await backend.start()

        async def computed(model: str) -> int:
            return sum(size for name, size in record.batches if name == model)

        yield Subject(backend, record, computed)
    else:
        url = request.getfixturevalue("server").url
        backend = Triton([url], observer=record)
        await backend.start()
        async with InferenceServerClient(url) as client:

            async def computed(model: str) -> int:
                statistics = await client.get_inference_statistics(model)
                return int(statistics.model_stats[0].inference_count)

            yield Subject(backend, record, computed)
    await backend.close()


@pytest.fixture
def backend(subject: Subject) -> Backend:
    return subject.backend
