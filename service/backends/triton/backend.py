"""The backend on Triton servers, over gRPC. Configurations come from the servers, not from a folder."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import grpc
import numpy as np

from service.backends.base import Observer, Unobserved, check_request, failure
from service.backends.triton.channel import connect
from service.backends.triton.fleet import Fleet
from service.backends.triton.server import Server
from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    ModelNotFound,
    Overloaded,
    ServiceError,
)
from service.repository import ModelConfig
from service.tensors import Tensors

ATTEMPTS = 2  # inference has no side effects, so it may be asked for twice; what kills two servers is not given a third


class Triton:
    """Implements `Backend`.

    Requests go to the server with the fewest of ours outstanding. When it cannot take one, or is lost while it has it,
    another server is asked, within the same deadline.

    A server fails every request of a batch when one is at fault. Each is then sent once more, filled with copies of
    its rows to a batch of its own, so that only the one at fault gets the error.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        tls: grpc.ChannelCredentials | None = None,
        poll_s: float = 2.0,
        shared_memory: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """`poll_s`: how often new versions are looked for. `shared_memory`: bytes from which tensors go through it."""
        self._addresses = [address.strip() for address in addresses]
        self._tls, self._poll_s, self._shared_memory = tls, poll_s, shared_memory
        self._observer = observer or Unobserved()
        self._fleet = Fleet([], poll_s, self._observer)
        self._outstanding: dict[str, int] = {}  # by model

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        return self._fleet.models

    async def start(self) -> None:
        """Reads what the servers have. One that is down now is used as soon as it is up."""
        servers = [
            Server(address, connect(address, self._tls), self._observer, self._shared_memory)
            for address in self._addresses
        ]
        self._fleet = Fleet(servers, self._poll_s, self._observer)
        await self._fleet.start()

    async def close(self) -> None:
        await self._fleet.close()

    async def ready(self, model: str) -> bool:
        return await self._fleet.learn(model)

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        return await self.request(self.models.get(model), model, inputs, outputs, deadline)

    @contextmanager
    def pinned(self) -> Iterator["Pinned"]:
        yield Pinned(self)

    async def request(
        self,
        config: ModelConfig | None,
        model: str,
        inputs: Tensors,
        outputs: Sequence[str] | None,
        deadline: float | None,
    ) -> Tensors:
        """`infer` in the version that `config` describes; None: the one that there is."""
        self._count(model, +1)
        try:
            config = config or await self._discover(model)
            size = check_request(config, inputs, outputs)
            names = [spec.name for spec in config.outputs] if outputs is None else outputs
            try:
                return await self._infer(config, size, inputs, names, deadline)
            except InferenceFailed:
                if not config.batching.enabled or size == config.max_batch_size:
                    raise
            alone = _fill(inputs, size, config.max_batch_size)
            results = await self._infer(config, config.max_batch_size, alone, names, deadline)
            return {name: array[:size] for name, array in results.items()}
        except ServiceError as exc:
            self._observer.on_refused(model, exc.slug)
            raise
        finally:
            self._count(model, -1)

    async def _infer(
        self, config: ModelConfig, size: int, inputs: Tensors, outputs: Sequence[str], deadline: float | None
    ) -> Tensors:
        clock = asyncio.get_running_loop().time
        error: ServiceError = failure(BackendUnavailable, config.name)
        tried: list[Server] = []
        while len(tried) < ATTEMPTS and (server := self._fleet.choose(config, tried)):
            if isinstance(error, Overloaded) and server in tried:
                break
            if deadline is not None and clock() >= deadline:
                raise failure(DeadlineExceeded, config.name)
            if tried:
                self._observer.on_retry(tried[-1].address)
            tried.append(server)
            started = clock()
            try:
                results = await server.infer(config, inputs, outputs, deadline)
            except DeadlineExceeded:
                server.doubt.set()
                raise
            except Overloaded as exc:
                error = exc
            except BackendUnavailable as exc:
                server.doubt.set()
                error = exc
            except ModelNotFound as exc:  # it was there: the server has lost it, or has another version now
                await self._fleet.learn(config.name)
                error = failure(BackendUnavailable, config.name)
                error.__cause__ = exc
            else:
                self._observer.on_batch(config.name, size, 0.0, clock() - started)
                return results
        raise error

    async def _discover(self, model: str) -> ModelConfig:
        """Asks for a model that was not there before. Raises ModelNotFound or BackendUnavailable."""
        if await self._fleet.learn(model):
            return self.models[model]
        raise failure(ModelNotFound if self._fleet.reachable else BackendUnavailable, model)

    def _count(self, model: str, step: int) -> None:
        self._outstanding[model] = self._outstanding.get(model, 0) + step
        self._observer.on_queue(model, self._outstanding[model])


class Pinned:
    """Implements `Inference`: the versions that there were when it was made, and models that were found since."""

    def __init__(self, triton: Triton) -> None:
        self._pinned = triton.models
        self._triton = triton

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        return {**self._triton.models, **self._pinned}

    async def ready(self, model: str) -> bool:
        return await self._triton.ready(model)

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        return await self._triton.request(self.models.get(model), model, inputs, outputs, deadline)


def _fill(inputs: Tensors, size: int, rows: int) -> Tensors:
    """Repeats the `size` rows up to `rows`."""
    return {name: array[np.arange(rows) % size] for name, array in inputs.items()}
