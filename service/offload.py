"""A bounded pool of threads for work that would stall the event loop: decoding, mel, encoding."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

import torch

from service.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")

_END = object()


class Offload:
    """Runs `workers` jobs at a time and lets `max_queued` more wait; any further one is refused at once.

    A job whose caller has gone (cancelled, deadline) is dropped if it has not started. A started one runs to its end,
    because a thread cannot be stopped, and keeps its place until then.
    """

    def __init__(self, workers: int, max_queued: int) -> None:
        # One torch thread per worker: the workers are the parallelism, and more threads than cores only lose time.
        self._executor = ThreadPoolExecutor(
            workers, thread_name_prefix="offload", initializer=torch.set_num_threads, initargs=(1,)
        )
        self._places = threading.BoundedSemaphore(workers + max_queued)

    @contextmanager
    def admit(self) -> Iterator["Admitted"]:
        """One place for all that a request has to do, one job after another. Raises Overloaded."""
        self._enter()
        admitted = Admitted(self._executor, self._exit)
        try:
            yield admitted
        finally:
            admitted._exit()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises Overloaded, and whatever `function` raises."""
        self._enter()
        future = self._submit(partial(function, *args, **kwargs))
        future.add_done_callback(lambda _: self._exit())
        return await asyncio.wrap_future(future)

    async def iterate(self, iterator: Iterator[T]) -> AsyncGenerator[T, None]:
        """Steps a blocking iterator, one step at a time and only when the next item is asked for.

        The whole iteration holds one place, so what was admitted is never refused halfway. The iterator is closed when
        the iteration ends, also by cancellation in the middle of a step. Raises Overloaded before the first step.
        """
        self._enter()
        step: Future[object] | None = None
        try:
            while True:
                step = self._submit(partial(next, iterator, _END))
                item = await asyncio.wrap_future(step)
                if item is _END:
                    return
                yield item  # type: ignore[misc]  # T, now that it is not _END
        finally:
            if step is None:
                self._leave(iterator)
            else:
                step.add_done_callback(lambda _: self._leave(iterator))  # at once if the step is done

    def close(self) -> None:
        """Drops what waits and returns when the running jobs have ended."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _enter(self) -> None:
        if not self._places.acquire(blocking=False):
            raise Overloaded("too many requests are waiting to be processed")

    def _exit(self) -> None:
        self._places.release()

    def _leave(self, iterator: Iterator[T]) -> None:
        try:
            if close := getattr(iterator, "close", None):
                close()
        finally:
            self._exit()

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        return self._executor.submit(copy_context().run, call)


class Admitted(Offload):
    """What has a place: none of its jobs is refused. The place is free when it was left and its last job has ended."""

    def __init__(self, executor: ThreadPoolExecutor, leave: Callable[[], None]) -> None:
        self._executor, self._give_back = executor, leave
        self._uses, self._lock = 1, threading.Lock()

    def _enter(self) -> None:
        with self._lock:
            self._uses += 1

    def _exit(self) -> None:
        with self._lock:
            self._uses -= 1
            last = not self._uses
        if last:
            self._give_back()
