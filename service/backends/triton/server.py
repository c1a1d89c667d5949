"""One Triton server: what it serves, whether it answers, and how much of ours it has."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

import grpc
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from service import spans
from service.backends.base import Observer, failure
from service.backends.triton.outcomes import QUEUE_FULL, translate
from service.backends.triton.parcel import Parcel
from service.backends.triton.shared_memory import UNREGISTERED, Segment, SharedMemory
from service.errors import BackendUnavailable, DeadlineExceeded
from service.repository import ModelConfig, RepositoryError, from_proto
from service.tensors import Tensors

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger(__name__)

ANSWER_S = 1.0  # a server that takes longer to say that it lives, twice in a row, does not answer
PROBE_S = 2.0  # limit of each call that asks about a model
_SHAPES = 256  # of requests whose outputs' sizes are remembered
_AT_ONCE = 1 << 20  # bytes that are copied on the event loop


class Server:
    """One address. `up` and `configs` are what is known; `fleet` keeps them true."""

    def __init__(self, address: str, client: InferenceServerClient, observer: Observer, threshold: int = 0) -> None:
        """Tensors of at least `threshold` bytes go through shared memory; 0: none."""
        self.address = address
        self.configs: dict[str, ModelConfig] = {}  # of the models that it has ready
        self.up = False
        self.outstanding = 0
        self.doubt = asyncio.Event()  # set: it failed a request, and is to be asked now whether it answers
        self._client = client
        self._observer = observer
        self._threshold = threshold
        self._memory = SharedMemory(client)
        self._output_sizes: dict[tuple[object, ...], dict[str, int]] = {}  # of requests that were alike
        self._limits: set[asyncio.Timeout] = set()  # of the requests that are with it
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        await self._memory.close()
        await self._client.close()

    def mark(self, *, up: bool) -> None:
        self.up = up
        self._observe()

    def serves(self, config: ModelConfig) -> bool:
        """Whether it has the very version that `config` describes, also beside a newer one."""
        own = self.configs.get(config.name)
        if own is None or config.version not in own.versions:
            return False
        # A configuration is the newest version's. Of the same number, one with other parameters has other weights.
        return config.version != own.version or config.parameters == own.parameters

    def abandon(self) -> None:
        """Ends the wait of the requests that are with it; each raises BackendUnavailable."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():  # its request has met its own deadline, and is about to leave
                limit.reschedule(now)

    async def answers(self) -> bool:
        """Whether it says that it lives. A busy one may be late once; a refused connection is an answer too."""
        for _ in range(2):
            try:
                live = bool(await self._client.is_server_live(client_timeout=ANSWER_S))
                await self._memory.sweep()
                return live
            except InferenceServerException as exc:
                if exc.status() != str(grpc.StatusCode.DEADLINE_EXCEEDED):
                    return False
        return False

    async def survey(self, names: Iterable[str]) -> None:
        """Learns about the models `names` and all that it lists. Raises InferenceServerException."""
        if not self.up:
            await self._memory.renew()
        found = set(names)
        with suppress(InferenceServerException):  # an operator may have shut the repository's interface
            index = await self._client.get_model_repository_index(client_timeout=PROBE_S)
            found |= {entry.name for entry in index.models if entry.state == "READY"}
        for name in sorted(found):
            await self.learn(name)

    async def learn(self, model: str) -> bool:
        """Whether `model` is ready, and its configuration, which may have changed. Raises InferenceServerException."""
        if not await self._client.is_model_ready(model, client_timeout=PROBE_S):
            self.configs.pop(model, None)
            return False
        try:
            config = await self._fetch(model)
        except RepositoryError as exc:
            logger.warning("Triton server %s: %s", self.address, exc)
            self.configs.pop(model, None)
            return False
        self.configs[model] = config
        return True

    async def infer(
        self, config: ModelConfig, inputs: Tensors, outputs: Sequence[str], deadline: float | None
    ) -> Tensors:
        """Runs the version that `config` describes. Raises the outcomes of `translate`."""
        clock = asyncio.get_running_loop().time
        with self._counted():
            try:
                async with asyncio.timeout_at(deadline) as limit:
                    self._limits.add(limit)
                    try:
                        return await self._infer(config, inputs, outputs, deadline and deadline - clock())
                    finally:
                        self._limits.discard(limit)
            except InferenceServerException as exc:
                raise translate(exc, config.name) from exc
            except TimeoutError as exc:
                late = deadline is not None and clock() >= deadline
                raise failure(DeadlineExceeded if late else BackendUnavailable, config.name) from exc
            except (asyncio.CancelledError, grpc.aio.UsageError) as exc:
                if not self._closed:  # it is the caller that goes away
                    raise
                raise failure(BackendUnavailable, config.name) from exc  # a channel that closes cancels what is on it

    async def _infer(
        self, config: ModelConfig, inputs: Tensors, outputs: Sequence[str], timeout: float | None
    ) -> Tensors:
        """Through shared memory where that is worth it and works, else over gRPC."""
        key = (config.name, config.version, *outputs, *((name, array.shape) for name, array in inputs.items()))
        parcel = Parcel(inputs, outputs, self._output_sizes.get(key, {}), self._threshold)
        segment = await self._memory.lend(parcel.size) if parcel.size else None
        self._observer.on_shared_memory(self.address, self._memory.size)
        if segment is not None:
            try:
                results = await self._send(config, parcel, segment, timeout)
            except InferenceServerException as exc:
                if QUEUE_FULL in exc.message():
                    self._memory.give_back(segment)
                else:
                    self._memory.lose(segment)
                if "shared memory" not in exc.message():
                    raise
                # a new process at that address, which was told of none; or an output that is larger this time
                self._output_sizes.pop(key, None)
                if UNREGISTERED in exc.message():
                    await self._memory.renew()
            except BaseException:
                self._memory.lose(segment)
                raise
            else:
                self._memory.give_back(segment)
                return results
        results = await self._send(config, parcel, None, timeout)
        if self._threshold:
            self._output_sizes[key] = {name: array.nbytes for name, array in results.items()}
            if len(self._output_sizes) > _SHAPES:
                del self._output_sizes[next(iter(self._output_sizes))]
        return results

    async def _send(
        self, config: ModelConfig, parcel: Parcel, segment: Segment | None, timeout: float | None
    ) -> Tensors:
        if segment is not None:
            await _copied(parcel.size, parcel.pack, segment)
        about = {"server.address": self.address, "auricle.model": config.name}
        with spans.calling(f"infer {config.name}", about) as headers:
            result = await self._client.infer(
                config.name,
                parcel.inputs(segment),
                model_version=str(config.version),
                outputs=parcel.outputs(segment),
                client_timeout=timeout,
                headers=headers,
            )
        if segment is None:
            return parcel.unpack(result, None)
        return await _copied(parcel.size, parcel.unpack, result, segment)

    async def _fetch(self, model: str) -> ModelConfig:
        """The configuration and the versions that it is for: a swap between the questions would mix two."""
        while True:
            before = await self._client.get_model_config(model, client_timeout=PROBE_S)
            metadata = await self._client.get_model_metadata(model, client_timeout=PROBE_S)
            after = await self._client.get_model_config(model, client_timeout=PROBE_S)
            if before == after:
                return replace(from_proto(after.config), versions=tuple(sorted(int(v) for v in metadata.versions)))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.outstanding += 1
        self._observe()
        try:
            yield
        finally:
            self.outstanding -= 1
            self._observe()

    def _observe(self) -> None:
        self._observer.on_server(self.address, up=self.up, outstanding=self.outstanding)


async def _copied(size: int, copy: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """In a thread where it takes longer than the way there."""
    return copy(*args, **kwargs) if size <= _AT_ONCE else await asyncio.to_thread(copy, *args, **kwargs)
