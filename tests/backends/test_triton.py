"""What only a remote server can do: answer with a status, die, come back, be one of several."""

import asyncio
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from service.backends.triton.backend import Triton
from service.backends.triton.channel import credentials
from service.backends.triton.outcomes import MESSAGES, STATUSES, translate
from service.errors import BackendUnavailable, DeadlineExceeded, ModelNotFound, ServiceError
from tests.backends import models
from tests.backends.conftest import Record
from tests.conftest import StartTriton
from tests.tritonserver.server import TritonServer
from tests.until import until

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


async def answered(backend: Triton, deadline_s: float = 30.0) -> None:
    deadline = asyncio.get_running_loop().time() + deadline_s
    assert (await backend.infer("add", X, deadline=deadline))["y"][0, 0] == 1


@pytest.mark.tritonserver
async def test_a_killed_server_fails_its_requests_at_once_and_is_used_again_when_it_returns(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    server, record = tritonserver(small_repository), Record()
    backend = Triton([server.url], observer=record)
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
    assert list(backend.models) == ["add", "slow"]  # it is known what will be there again

    server.start()
    await until(lambda: backend.ready("add"))
    await answered(backend)
    assert record.ejected == [server.url]
    await backend.close()


@pytest.mark.tritonserver
async def test_with_two_servers_the_death_of_one_is_not_noticed(
    tritonserver: StartTriton, server: TritonServer, small_repository: Path
) -> None:
    mortal, record = tritonserver(small_repository), Record()
    backend = Triton([mortal.url, server.url], observer=record)
    await backend.start()
    running = [asyncio.create_task(backend.infer("slow", {"steps": LONG["steps"] // 20})) for _ in range(2)]
    await asyncio.wait(running, timeout=0.1)
    await asyncio.to_thread(mortal.kill)
    await asyncio.gather(*running, *(answered(backend) for _ in range(20)))
    assert set(record.retried) == {mortal.url}
    assert record.refused == []
    assert await backend.ready("add")
    await backend.close()


@pytest.mark.tritonserver
async def test_what_a_frozen_server_has_is_answered_by_another_one(
    tritonserver: StartTriton, server: TritonServer, small_repository: Path
) -> None:
    frozen, record = tritonserver(small_repository), Record()
    backend = Triton([frozen.url, server.url], observer=record)
    await backend.start()
    frozen.freeze()
    await asyncio.gather(*(answered(backend) for _ in range(20)))  # half of them were sent to it
    assert record.ejected == [frozen.url]
    assert record.refused == []
    before = len(record.retried)
    await asyncio.gather(*(answered(backend) for _ in range(20)))
    assert len(record.retried) == before
    frozen.thaw()

    await asyncio.to_thread(server.kill)
    try:
        await until(lambda: backend.ready("add"))
        await answered(backend)
    finally:
        server.start()
    await backend.close()


@pytest.mark.tritonserver
async def test_a_frozen_server_alone_is_refused_for_and_its_requests_wait_for_their_deadline(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    loop = asyncio.get_running_loop()
    frozen, record = tritonserver(small_repository), Record()
    backend = Triton([frozen.url], observer=record)
    await backend.start()
    frozen.freeze()
    waiting = asyncio.create_task(answered(backend))
    began = loop.time()
    with pytest.raises(DeadlineExceeded):
        await answered(backend, 0.5)
    assert loop.time() < began + 1.5

    await until(lambda: bool(record.ejected))
    with pytest.raises(BackendUnavailable):
        await answered(backend)
    frozen.thaw()
    await waiting  # it was only late
    await until(lambda: backend.ready("add"))
    await answered(backend)
    await backend.close()


@pytest.mark.tritonserver
async def test_an_address_that_accepts_and_never_answers_is_passed_over(server: TritonServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        record = Record()
        backend = Triton([address, server.url], observer=record)
        await backend.start()
        await asyncio.gather(*(answered(backend) for _ in range(10)))
        assert record.retried == []
        await backend.close()


@pytest.mark.tritonserver
async def test_a_model_that_the_repository_loses_is_unavailable_until_it_is_there_again(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    server = tritonserver(small_repository)
    backend = Triton([server.url], poll_s=0.1)
    await backend.start()
    async with InferenceServerClient(server.url) as client:
        await client.unload_model("add")

        await until(lambda: "add" not in backend.models)
        with pytest.raises(ModelNotFound):
            await answered(backend)
        assert await backend.ready("slow")
        await client.load_model("add")
    await until(lambda: backend.ready("add"))
    await answered(backend)
    await backend.close()


@pytest.mark.tritonserver
async def test_tls_proves_both_sides_and_nothing_else_is_spoken(
    tritonserver: StartTriton, small_repository: Path, tmp_path: Path
) -> None:
    authority = trustme.CA()
    for name in ("server", "client"):
        issued = authority.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
    ca, other = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.cert_pem.write_to_path(ca)
    trustme.CA().cert_pem.write_to_path(other)
    flags = ["use-ssl=1", "use-ssl-mutual=1", f"root-cert={ca}"]
    flags += [f"server-cert={tmp_path / 'server.pem'}", f"server-key={tmp_path / 'server.key'}"]
    server = tritonserver(small_repository, flags=[f"--grpc-{flag}" for flag in flags])

    shown = (tmp_path / "client.pem", tmp_path / "client.key")
    for tls, works in [
        (credentials(ca, *shown), True),
        (credentials(ca), False),  # shows no certificate
        (credentials(other, *shown), False),  # trusts somebody else
        (None, False),
    ]:
        backend = Triton([server.url], tls=tls)
        await backend.start()
        assert await backend.ready("add") is works
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
async def test_a_model_that_was_not_there_at_the_start_is_found_when_asked_for(
    tritonserver: StartTriton, small_repository: Path
) -> None:
    server = tritonserver(small_repository)
    async with InferenceServerClient(server.url) as client:
        await client.unload_model("add")
        backend = Triton([server.url], poll_s=0)
        await backend.start()
        with pytest.raises(ModelNotFound):
            await backend.infer("add", X)
        await client.load_model("add")
    await answered(backend)
    with pytest.raises(ModelNotFound):
        await backend.infer("absent", X)
    await backend.close()
