"""The backend inside this process: ONNX Runtime over a model repository, obeying its config.pbtxt as Triton does."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from service.backends.base import Inference, Observer, Unobserved, check_request, failure
from service.backends.embedded.served import Served
from service.errors import BackendUnavailable, ModelNotFound, ServiceError
from service.repository import ModelConfig, RepositoryError
from service.tensors import Tensors

logger = logging.getLogger(__name__)

Models = Mapping[str, ModelConfig]
Stamp = tuple[ModelConfig, int, int]  # what it takes for two looks at a model to have seen the same


class Embedded:
    """Implements `Backend`. `models` is known at once; each becomes ready when `start` has loaded and warmed it.

    A new version is loaded and warmed beside the old one, which serves until then, and then ends what it has begun.
    What does not load never replaces what serves. Removing the new version's folder brings the former one back.
    """

    def __init__(
        self,
        models: Models,
        *,
        look: Callable[[], Models] | None = None,
        poll_s: float = 0.0,
        intra_op_threads: int = 0,
        observer: Observer | None = None,
    ) -> None:
        """`look` reads the repository again; it is asked every `poll_s`, in a thread. 0: never."""
        self.models = dict(models)
        self._look, self._poll_s = look, poll_s
        self._observer = observer or Unobserved()
        self._threads = intra_op_threads
        self._served: dict[str, Served] = {}
        self._replaced: list[Served] = []
        self._stamps: dict[str, Stamp] = {}
        self._complaint = ""
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for config in self.models.values():
            await self._load(config)
        if self._look is not None and self._poll_s > 0:
            self._watching = asyncio.create_task(self._watch(self._look))

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        served = [*self._served.values(), *self._replaced]
        self._served.clear()
        self._replaced.clear()
        await asyncio.gather(*(one.close() for one in served))

    async def ready(self, model: str) -> bool:
        return model in self._served

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        with self.pinned() as models:
            return await models.infer(model, inputs, outputs, deadline=deadline)

    @contextmanager
    def pinned(self) -> Iterator[Inference]:
        with ExitStack() as held:
            for served in self._served.values():
                held.enter_context(served.held())
            yield Pinned(self.models.copy(), self._served.copy(), self._observer)

    async def _load(self, config: ModelConfig) -> None:
        """Raises RepositoryError, and then nothing has changed."""
        self._stamps[config.name] = _stamp(config)
        served = await Served.load(config, self._threads, self._observer)
        if (before := self._served.get(config.name)) is not None:
            self._replaced.append(before)
        self.models[config.name] = config
        self._served[config.name] = served
        logger.info("model %s is ready in version %s", config.name, config.version)
        self._observer.on_reload(config.name, config.version or 0, "loaded")

    async def _watch(self, look: Callable[[], Models]) -> None:
        """Runs until close. Nothing that is in the repository ends this loop."""
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                for config in await asyncio.to_thread(self._changed, look):
                    await self._reload(config)
                self._complaint = ""
            except Exception as exc:  # noqa: BLE001  said once, as the next look finds the same
                if str(exc) != self._complaint:
                    self._complaint = str(exc)
                    logger.warning("the model repository cannot be read again: %s", exc)
            await self._retire()

    def _changed(self, look: Callable[[], Models]) -> list[ModelConfig]:
        return [config for config in look().values() if _stamp(config) != self._stamps.get(config.name)]

    async def _reload(self, config: ModelConfig) -> None:
        try:
            await self._load(config)
        except RepositoryError as exc:
            logger.error("%s; it is served as before", exc)
            self._observer.on_reload(config.name, config.version or 0, "failed")

    async def _retire(self) -> None:
        """Closes what was replaced and has no request any more."""
        over = [served for served in self._replaced if not served.holders]
        self._replaced = [served for served in self._replaced if served.holders]
        await asyncio.gather(*(served.close() for served in over))


class Pinned:
    """Implements `Inference` on the versions that there were when it was made."""

    def __init__(self, models: Models, served: Mapping[str, Served], observer: Observer) -> None:
        self.models = models
        self._served = served
        self._observer = observer

    async def ready(self, model: str) -> bool:
        return model in self._served

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        try:
            return await self._infer(model, inputs, outputs, deadline)
        except ServiceError as exc:
            self._observer.on_refused(model, exc.slug)
            raise

    async def _infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None, deadline: float | None
    ) -> Tensors:
        if model not in self.models:
            raise failure(ModelNotFound, model)
        if (served := self._served.get(model)) is None:
            raise failure(BackendUnavailable, model)
        size = check_request(served.config, inputs, outputs)
        results = await served.submit(inputs, size, deadline)
        return results if outputs is None else {name: results[name] for name in outputs}


def _stamp(config: ModelConfig) -> Stamp:
    """Also the graph's own: a file that is not there yet, or is replaced, is looked at again."""
    config = replace(config, versions=config.versions[-1:])  # the others are not served
    if config.file is None or not config.file.exists():
        return config, 0, 0
    status = config.file.stat()
    return config, status.st_mtime_ns, status.st_size
