"""Many inputs through one function: a bounded number at a time, results in order and as soon as they are there."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(
    items: AsyncGenerator[T, None], function: Callable[[T], Awaitable[R]], limit: int
) -> AsyncGenerator[R, None]:
    """Yields `await function(item)` for every item; `items` is not asked for more while `limit` results are not taken.

    What `items` or a call raises is raised in its turn. Closing the generator cancels the calls that still run, so use
    it inside `contextlib.aclosing`.
    """
    calls: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
    free = asyncio.Semaphore(limit)

    async def call(item: T) -> R:
        return await function(item)

    async def submit() -> None:
        try:
            async with aclosing(items):
                await free.acquire()
                async for item in items:
                    calls.put_nowait(asyncio.create_task(call(item)))
                    await free.acquire()
        finally:
            calls.put_nowait(None)

    submitting = asyncio.create_task(submit())
    current: asyncio.Task[R] | None = None
    try:
        while (current := await calls.get()) is not None:
            yield await current
            free.release()
        await submitting
    finally:
        submitting.cancel()
        await asyncio.wait({submitting})
        left = [current, *(calls.get_nowait() for _ in range(calls.qsize()))]
        running = [task for task in left if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(submitting, *running, return_exceptions=True)
