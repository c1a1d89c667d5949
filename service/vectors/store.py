"""An engine where its calls cannot stall the event loop, behind a bounded queue."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor
from typing import Any, Concatenate, ParamSpec, TypeVar

from service.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from service.vectors.base import Engine

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """`await store.run(Engine.search, name, ...)`: any method of the engine, in the pool.

    The pool, and with it the engine, begins when it is first needed. A pool that broke, because its process was killed,
    is replaced at the next call.
    """

    def __init__(
        self, pool: Callable[[], Executor], call: Callable[..., Any], *, max_queued: int, deadline_s: float
    ) -> None:
        """`call(method, *args)` is what runs in the pool."""
        self._make, self._call = pool, call
        self._max_queued, self._deadline_s = max_queued, deadline_s
        self._pool: Executor | None = None
        self._starting = asyncio.Lock()
        self._queued = 0

    async def run(self, method: Callable[Concatenate[Engine, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises Overloaded, DeadlineExceeded, BackendUnavailable, and what the method raises.

        A call that has begun goes on after its deadline, or when its caller has gone: it is not known then whether
        something was written, and writing it again is safe.
        """
        if self._queued >= self._max_queued:
            raise Overloaded("too many requests are waiting for the vector store")
        self._queued += 1
        try:
            async with asyncio.timeout(self._deadline_s):
                answer: T = await self._run(method.__name__, args)
                return answer
        except TimeoutError:
            raise DeadlineExceeded("the vector store did not answer in time") from None
        finally:
            self._queued -= 1

    async def close(self) -> None:
        """Returns when what has begun is done."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def _started(self) -> Executor:
        async with self._starting:
            if self._pool is None:
                pool = self._make()
                await asyncio.to_thread(pool.submit, int)  # the first submission starts a process, which takes a while
                self._pool = pool
            return self._pool

    async def _run(self, method: str, args: Sequence[Any]) -> Any:
        pool = await self._started()
        try:
            return await asyncio.wrap_future(pool.submit(self._call, method, *args))
        except BrokenExecutor as exc:
            if self._pool is pool:
                self._pool = None
            raise BackendUnavailable("The vector store ended unexpectedly; it starts again.") from exc
