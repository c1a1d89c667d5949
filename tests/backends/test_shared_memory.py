"""Large tensors through memory that is shared with the real tritonserver: same answers, and nothing left behind."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from service.backends.triton.backend import Triton
from service.backends.triton.shared_memory import BUDGET, FOLDER, SharedMemory
from service.errors import DeadlineExceeded
from tests.backends import models
from tests.backends.conftest import Record
from tests.conftest import StartTriton
from tests.tritonserver.server import TritonServer
from tests.until import until

pytestmark = pytest.mark.tritonserver

THRESHOLD = 1 << 16
LARGE = 1 << 18  # numbers


def numbers(seed: int, count: int = LARGE) -> "np.ndarray":
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


async def doubles(backend: Triton, x: "np.ndarray") -> None:
    np.testing.assert_array_equal((await backend.infer("whole", {"x": x}))["y"], 2 * x)


async def segments_of(server: TritonServer) -> set[str]:
    async with InferenceServerClient(server.url) as client:
        return set((await client.get_system_shared_memory_status()).regions)


@pytest.fixture
def names_before() -> set[str]:
    return {path.name for path in FOLDER.glob("auricle-*")}


async def test_large_tensors_are_shared_and_small_ones_are_sent(server: TritonServer, names_before: set[str]) -> None:
    record = Record()
    backend = Triton([server.url], shared_memory=THRESHOLD, observer=record)
    await backend.start()
    await doubles(backend, numbers(0, 10))
    assert record.shared[server.url] == 0

    for seed in range(3):  # the first one shows how large the answer is, which is then shared as well
        await doubles(backend, numbers(seed))
    await asyncio.gather(*(doubles(backend, numbers(seed)) for seed in range(20)))
    await doubles(backend, numbers(0)[::2])  # of any layout

    assert 0 < record.shared[server.url] <= BUDGET
    assert {path.name for path in FOLDER.glob("auricle-*")} <= names_before
    await backend.close()
    assert await segments_of(server) == set()


async def test_a_segment_of_a_request_that_was_given_up_is_lent_to_nobody(server: TritonServer) -> None:
    async with InferenceServerClient(server.url) as client:
        memory = SharedMemory(client)
        first = await memory.lend(5)
        assert first is not None
        memory.give_back(first)
        assert await memory.lend(5) is first
        memory.lose(first)
        second = await memory.lend(5)
        assert second is not None
        assert second is not first
        assert await memory.lend(BUDGET) is None  # what is lost still counts
        await memory.close()
        assert await segments_of(server) == set()


async def test_deadlines_in_the_middle_never_give_another_requests_numbers(server: TritonServer) -> None:
    loop = asyncio.get_running_loop()
    backend = Triton([server.url], shared_memory=THRESHOLD)
    await backend.start()
    await doubles(backend, numbers(0))

    async def hasty(seed: int) -> None:
        x = numbers(seed)
        answer = await backend.infer("whole", {"x": x}, deadline=loop.time() + 0.001 * seed)
        np.testing.assert_array_equal(answer["y"], 2 * x)

    outcomes = await asyncio.gather(*(hasty(seed) for seed in range(40)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {type(None), DeadlineExceeded}
    assert any(isinstance(outcome, DeadlineExceeded) for outcome in outcomes)
    await doubles(backend, numbers(99))
    await backend.close()


async def test_a_server_that_shares_no_memory_is_served_over_grpc(tritonserver: StartTriton, tmp_path: Path) -> None:
    shut = ["--grpc-restricted-protocol=shared-memory,model-repository:admin-key=secret"]
    server = tritonserver(models.build(tmp_path, "whole"), flags=shut)
    record = Record()
    backend = Triton([server.url], shared_memory=THRESHOLD, observer=record)
    await backend.start()
    assert await backend.ready("whole")
    for seed in range(3):
        await doubles(backend, numbers(seed))
    assert record.shared[server.url] == 0
    await backend.close()


async def test_a_server_that_was_started_anew_is_told_again(tritonserver: StartTriton, tmp_path: Path) -> None:
    server = tritonserver(models.build(tmp_path, "whole"))
    record = Record()
    backend = Triton([server.url], shared_memory=THRESHOLD, observer=record)
    await backend.start()
    await doubles(backend, numbers(0))
    await asyncio.to_thread(server.kill)
    server.start()
    await until(lambda: backend.ready("whole"))
    for seed in range(1, 4):
        await doubles(backend, numbers(seed))
    assert await segments_of(server)
    await backend.close()
