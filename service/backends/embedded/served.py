"""One version of one model, loaded and warm, with its queue and the threads that run it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Self

from service.backends.base import Observer
from service.backends.batcher import Batcher
from service.backends.embedded.session import Session
from service.repository import ModelConfig
from service.tensors import Tensors


class Served:
    """Serves until it is closed, which is when it was replaced and nobody holds it."""

    def __init__(self, config: ModelConfig, session: Session, executor: ThreadPoolExecutor, observer: Observer) -> None:
        self.config = config
        self.holders = 0
        self._executor = executor
        self._batcher = Batcher(config, session.run, executor, observer)

    @classmethod
    async def load(cls, config: ModelConfig, threads: int, observer: Observer) -> Self:
        """Loads the graph and warms it. Raises RepositoryError."""
        # one thread for each batch that may run at a time; ONNX Runtime leaves the GIL while it computes
        executor = ThreadPoolExecutor(config.instances, thread_name_prefix="inference")
        try:
            session = await asyncio.get_running_loop().run_in_executor(executor, _warm_session, config, threads)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        return cls(config, session, executor, observer)

    @contextmanager
    def held(self) -> Iterator[None]:
        """For as long as a request may come back to it."""
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1

    async def submit(self, inputs: Tensors, size: int, deadline: float | None) -> Tensors:
        """As `Batcher.submit`."""
        return await self._batcher.submit(inputs, size, deadline)

    async def close(self) -> None:
        """As `Batcher.close`; no thread is left."""
        await self._batcher.close()
        self._executor.shutdown()


def _warm_session(config: ModelConfig, threads: int) -> Session:
    session = Session(config, threads)
    for sample in config.warmup:
        session.warm(sample)
    return session
