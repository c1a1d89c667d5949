"""One Triton server: what it serves, whether it answers, and how much of ours it has."""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import grpc
import numpy as np
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from service import spans
from service.backends.base import Observer, failure
from service.backends.triton.outcomes import translate
from service.errors import BackendUnavailable, DeadlineExceeded
from service.repository import ModelConfig, RepositoryError, from_proto
from service.tensors import Tensors

logger = logging.getLogger(__name__)

ANSWER_S = 1.0  # a server that takes longer to say that it lives, twice in a row, does not answer
PROBE_S = 2.0  # limit of each call that asks about a model


class Server:
    """One address. `up` and `configs` are what is known; `fleet` keeps them true."""

    def __init__(self, address: str, client: InferenceServerClient, observer: Observer) -> None:
        self.address = address
        self.configs: dict[str, ModelConfig] = {}  # of the models that it has ready
        self.up = False
        self.outstanding = 0
        self.doubt = asyncio.Event()  # set: it failed a request, and is to be asked now whether it answers
        self._client = client
        self._observer = observer
        self._limits: set[asyncio.Timeout] = set()  # of the requests that are with it
        self._closed = False

    async def close(self) -> None:
        self._closed = True
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
            limit.reschedule(now)

    async def answers(self) -> bool:
        """Whether it says that it lives. A busy one may be late once; a refused connection is an answer too."""
        for _ in range(2):
            try:
                return bool(await self._client.is_server_live(client_timeout=ANSWER_S))
            except InferenceServerException as exc:
                if exc.status() != str(grpc.StatusCode.DEADLINE_EXCEEDED):
                    return False
        return False

    async def survey(self, names: Iterable[str]) -> None:
        """Learns about the models `names` and all that it lists. Raises InferenceServerException."""
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
        about = {"server.address": self.address, "auricle.model": config.name}
        with spans.calling(f"infer {config.name}", about) as headers:
            result = await self._client.infer(
                config.name,
                [_to_input(name, array) for name, array in inputs.items()],
                model_version=str(config.version),
                outputs=[InferRequestedOutput(name) for name in outputs],
                client_timeout=timeout,
                headers=headers,
            )
        return {name: result.as_numpy(name) for name in outputs}

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


def _to_input(name: str, array: np.ndarray) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
