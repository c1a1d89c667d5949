"""The backend on one or several Triton servers, over gRPC. Configurations come from the servers, not from a folder."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import grpc
import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from service import spans
from service.backends.base import Observer, Unobserved, check_request, failure
from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServiceError,
)
from service.repository import ModelConfig, RepositoryError, from_proto
from service.tensors import Tensors

logger = logging.getLogger(__name__)

RECOVERY_S = 1.0  # how often a server that failed is asked whether it is back
PROBE_S = 2.0  # limit of each call that asks about a server or a model

CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # a restarted server is used again within about a second; gRPC's own back-off grows to two minutes
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # a name that resolves to several addresses (a headless service) is spread over all of them
    ("grpc.service_config", '{"loadBalancingConfig":[{"round_robin":{}}]}'),
]

STATUSES: Mapping[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.CANCELLED: BackendUnavailable,  # by the server; our own cancellation is a CancelledError
    grpc.StatusCode.UNKNOWN: InferenceFailed,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: ModelNotFound,
    grpc.StatusCode.ALREADY_EXISTS: InferenceFailed,
    grpc.StatusCode.PERMISSION_DENIED: BackendUnavailable,
    grpc.StatusCode.UNAUTHENTICATED: BackendUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InferenceFailed,
    grpc.StatusCode.FAILED_PRECONDITION: InferenceFailed,
    grpc.StatusCode.ABORTED: InferenceFailed,
    grpc.StatusCode.OUT_OF_RANGE: InferenceFailed,
    grpc.StatusCode.UNIMPLEMENTED: InferenceFailed,
    grpc.StatusCode.INTERNAL: InferenceFailed,
    grpc.StatusCode.UNAVAILABLE: BackendUnavailable,
    grpc.StatusCode.DATA_LOSS: InferenceFailed,
}

# Triton folds several outcomes into one status; only its message tells them apart.
MESSAGES: Sequence[tuple[grpc.StatusCode, str, type[ServiceError]]] = [
    (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", Overloaded),
    (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", DeadlineExceeded),
    (grpc.StatusCode.INTERNAL, "is not healthy", BackendUnavailable),  # the process of a Python model has died
]


def translate(exc: InferenceServerException, model: str) -> ServiceError:
    """The outcome that the client is told; the server's own words go to the log."""
    status = next((code for code in grpc.StatusCode if str(code) == exc.status()), grpc.StatusCode.UNKNOWN)
    for code, text, kind in MESSAGES:
        if code is status and text in exc.message():
            return failure(kind, model)
    logger.warning("model %s: %s", model, exc)
    return failure(STATUSES[status], model)


class Server:
    """One address, and what is known about it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = InferenceServerClient(address, channel_args=CHANNEL)
        self.outstanding = 0
        self.recovery: asyncio.Task[None] | None = None  # runs while the server is passed over

    def eject(self) -> None:
        """Passes the server over until it answers again; requests are not what that is tried with."""
        if self.recovery is None:
            self.recovery = asyncio.create_task(self._recover())

    def restore(self) -> None:
        if self.recovery is not None:
            self.recovery.cancel()
            self.recovery = None

    async def close(self) -> None:
        self.restore()
        await self.client.close()

    async def _recover(self) -> None:
        live = False
        while not live:
            await asyncio.sleep(RECOVERY_S)
            with suppress(InferenceServerException):
                live = await self.client.is_server_live(client_timeout=PROBE_S)
        self.recovery = None


class Triton:
    """Implements `Backend`.

    Requests go to the server with the fewest of ours outstanding. When it cannot take one, the next server is asked:
    inference has no side effects, so it may be asked for twice. A server that was not reached, or let a deadline pass,
    gets no requests until it is live again.

    A server fails every request of a batch when one is at fault. Each is then sent once more, filled with copies of
    its rows to a batch of its own, so that only the one at fault gets the error.
    """

    def __init__(self, addresses: Sequence[str], *, observer: Observer | None = None) -> None:
        self.models: dict[str, ModelConfig] = {}
        self._addresses = [address.strip() for address in addresses]
        self._observer = observer or Unobserved()
        self._servers: list[Server] = []
        self._outstanding: dict[str, int] = {}  # by model

    async def start(self) -> None:
        """Reads what the servers have. One that is down now is asked again by `ready` and `infer`."""
        self._servers = [Server(address) for address in self._addresses]
        for server in self._servers:
            try:
                index = await server.client.get_model_repository_index(client_timeout=PROBE_S)
            except InferenceServerException as exc:
                logger.warning("Triton server %s is not reachable: %s", server.address, exc)
                continue
            for name in sorted({entry.name for entry in index.models if entry.state == "READY"}):
                await self._probe(server, name)

    async def close(self) -> None:
        servers, self._servers = self._servers, []
        await asyncio.gather(*(server.close() for server in servers))

    async def ready(self, model: str) -> bool:
        return any(await asyncio.gather(*(self._probe(server, model) for server in self._servers)))

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        try:
            config = self.models.get(model) or await self._discover(model)
            size = check_request(config, inputs, outputs)
            names = [spec.name for spec in config.outputs] if outputs is None else outputs
            try:
                return await self._infer(model, size, inputs, names, deadline)
            except InferenceFailed:
                if not config.batching.enabled or size == config.max_batch_size:
                    raise
            alone = _fill(inputs, size, config.max_batch_size)
            results = await self._infer(model, config.max_batch_size, alone, names, deadline)
            return {name: array[:size] for name, array in results.items()}
        except ServiceError as exc:
            self._observer.on_refused(model, exc.slug)
            raise

    async def _infer(
        self, model: str, size: int, inputs: Tensors, outputs: Sequence[str], deadline: float | None
    ) -> Tensors:
        clock = asyncio.get_running_loop().time
        sent = [_to_input(name, array) for name, array in inputs.items()]
        error = failure(BackendUnavailable, model)
        for server in self._by_preference():
            remaining = None if deadline is None else deadline - clock()
            if remaining is not None and remaining <= 0:
                raise failure(DeadlineExceeded, model)
            started = clock()
            try:
                results = await self._send(server, model, sent, outputs, remaining)
            except DeadlineExceeded:
                server.eject()
                raise
            except Overloaded as exc:
                error = exc
                continue
            except (BackendUnavailable, ModelNotFound) as exc:
                server.eject()
                error = exc
                continue
            self._observer.on_batch(model, size, 0.0, clock() - started)
            return results
        raise error

    async def _send(
        self, server: Server, model: str, inputs: list[InferInput], outputs: Sequence[str], timeout: float | None
    ) -> Tensors:
        self._count(server, model, +1)
        try:
            with spans.calling(f"infer {model}", {"server.address": server.address, "auricle.model": model}) as headers:
                result = await server.client.infer(
                    model,
                    inputs,
                    outputs=[InferRequestedOutput(name) for name in outputs],
                    client_timeout=timeout,
                    headers=headers,
                )
        except InferenceServerException as exc:
            raise translate(exc, model) from exc
        except (asyncio.CancelledError, grpc.aio.UsageError) as exc:
            if server in self._servers:  # it is the caller that goes away
                raise
            raise failure(BackendUnavailable, model) from exc  # a channel that closes cancels what is on it
        finally:
            self._count(server, model, -1)
        return {name: result.as_numpy(name) for name in outputs}

    def _count(self, server: Server, model: str, step: int) -> None:
        server.outstanding += step
        self._outstanding[model] = self._outstanding.get(model, 0) + step
        self._observer.on_queue(model, self._outstanding[model])

    def _by_preference(self) -> list[Server]:
        """Least busy first. With all of them ejected there is nothing to lose in trying, and a refusal is quick."""
        healthy = [server for server in self._servers if server.recovery is None]
        return sorted(healthy or self._servers, key=lambda server: server.outstanding)

    async def _discover(self, model: str) -> ModelConfig:
        """Asks for a model that was not there before. Raises ModelNotFound or BackendUnavailable."""
        error = failure(BackendUnavailable, model)
        for server in self._by_preference():
            try:
                return await self._fetch(server, model)
            except InferenceServerException as exc:
                error = translate(exc, model)
            except RepositoryError as exc:
                logger.warning("%s", exc)
                error = failure(ModelNotFound, model)
        raise error

    async def _probe(self, server: Server, model: str) -> bool:
        """Whether `server` has `model` ready; also learns its configuration, which may have changed since."""
        try:
            if not await server.client.is_model_ready(model, client_timeout=PROBE_S):
                return False
            await self._fetch(server, model)
        except (InferenceServerException, RepositoryError) as exc:
            logger.warning("Triton server %s, model %s: %s", server.address, model, exc)
            return False
        server.restore()
        return True

    async def _fetch(self, server: Server, model: str) -> ModelConfig:
        answer = await server.client.get_model_config(model, client_timeout=PROBE_S)
        metadata = await server.client.get_model_metadata(model, client_timeout=PROBE_S)
        config = replace(from_proto(answer.config), versions=tuple(sorted(int(v) for v in metadata.versions)))
        self.models[model] = config
        return config


def _fill(inputs: Tensors, size: int, rows: int) -> Tensors:
    """Repeats the `size` rows up to `rows`."""
    return {name: array[np.arange(rows) % size] for name, array in inputs.items()}


def _to_input(name: str, array: np.ndarray) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
