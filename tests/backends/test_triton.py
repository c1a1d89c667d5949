"""What only a remote server can do: answer with a status, die, come back, be one of several."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from service.backends.triton.backend import Triton
from service.backends.triton.outcomes import MESSAGES, STATUSES, translate
from service.errors import BackendUnavailable, DeadlineExceeded, ModelNotFound, ServiceError
from tests.backends import models
from tests.conftest import StartTriton
from tests.tritonserver.server import TritonServer

X = {"x": np.zeros((1, 4), np.float32)}
LONG = {"steps": np.array([[4_000_000]], np.int64)}


@pytest.fixture(scope="module")
def small_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.build(tmp_path_factory.mktemp("small"), "add", "slow")


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_every_status_is_mapped(status: grpc.StatusCode) -> None:
    error = translate(InferenceServerException("some words of the server", status=str(status)), "add")
    assert type(error) is STATUSES[status]
    assert "words" not in error.detail


@pytest.mark.parametrize(("status", "text", "kind"), MESSAGES)
def test_messages_tell_outcomes_of_one_status_apart(
    status: grpc.StatusCode, text: str, kind: type[ServiceError]
) -> None:
    error = translate(InferenceServerException(f"[request id: 7] {text}", status=str(status)), "add")
    assert type(error) is kind
    assert kind is not STATUSES[status]


async def usable(backend: Triton, model: str) -> None:
    """Returns when a request succeeds again; the server is up, so it is the channel that is waited for."""
    async with asyncio.timeout(30):
        while not await backend.ready(model):  # noqa: ASYNC110  another process has no event to wait for
            await asyncio.sleep(0.05)
        await backend.infer(model, X)


@pytest.mark.tritonserver
async def test_a_killed_server_fails_its_requests_at_once_and_is_used_again_when_it_returns(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    server = tritonserver(small_repository)
    backend = Triton([server.url])
    await backend.start()
    running = asyncio.create_task(backend.infer("slow", LONG))
    await asyncio.wait({running}, timeout=0.3)

    await asyncio.to_thread(server.kill)
    async with asyncio.timeout(5):
        with pytest.raises(BackendUnavailable):
            await running
        with pytest.raises(BackendUnavailable):
            await backend.infer("add", X)
    assert not await backend.ready("add")

    server.start()
    await usable(backend, "add")
    await backend.close()


@pytest.mark.tritonserver
async def test_with_two_servers_the_death_of_one_is_not_noticed(
    tritonserver: StartTriton, server: TritonServer, small_repository: Path
) -> None:
    mortal = tritonserver(small_repository)
    backend = Triton([mortal.url, server.url])
    await backend.start()
    await backend.infer("add", X)
    await asyncio.to_thread(mortal.kill)
    answers = await asyncio.gather(*(backend.infer("add", X) for _ in range(20)))
    assert all(answer["y"][0, 0] == 1 for answer in answers)
    assert await backend.ready("add")
    await backend.close()


@pytest.mark.tritonserver
async def test_a_frozen_server_costs_one_deadline_and_is_used_again_when_it_thaws(
    tritonserver: StartTriton, server: TritonServer, small_repository: Path
) -> None:
    loop = asyncio.get_running_loop()
    frozen = tritonserver(small_repository)
    backend = Triton([frozen.url, server.url])
    await backend.start()
    frozen.freeze()
    soon = loop.time() + 0.5
    with pytest.raises(DeadlineExceeded):  # of two at once each server has one
        await asyncio.gather(backend.infer("add", X, deadline=soon), backend.infer("add", X, deadline=soon))
    for _ in range(200):
        await backend.infer("add", X, deadline=loop.time() + 5)
    frozen.thaw()

    await asyncio.to_thread(server.kill)
    try:
        await usable(backend, "add")
    finally:
        server.start()
    await backend.close()


@pytest.mark.tritonserver
async def test_requests_at_the_same_time_are_spread_over_the_servers(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    server, other = tritonserver(small_repository), tritonserver(small_repository)
    backend = Triton([server.url, other.url])
    await backend.start()
    await asyncio.gather(*(backend.infer("slow", {"steps": LONG["steps"] // 40}) for _ in range(4)))
    for address in (server.url, other.url):
        async with InferenceServerClient(address) as client:
            statistics = await client.get_inference_statistics("slow")
            assert statistics.model_stats[0].inference_count >= 1
    await backend.close()


async def test_a_server_that_is_down_at_the_start_is_unavailable_not_unknown() -> None:
    backend = Triton(["127.0.0.1:9"])  # the discard port: nothing listens
    await backend.start()
    assert dict(backend.models) == {}
    assert not await backend.ready("add")
    with pytest.raises(BackendUnavailable):
        await backend.infer("add", X)
    await backend.close()


@pytest.mark.tritonserver
async def test_a_model_that_was_not_there_at_the_start_is_found_when_asked_for(server: TritonServer) -> None:
    backend = Triton([server.url])
    await backend.start()
    del backend.models["add"]
    assert (await backend.infer("add", X))["y"][0, 0] == 1
    with pytest.raises(ModelNotFound):
        await backend.infer("absent", X)
    await backend.close()
