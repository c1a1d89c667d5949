"""Runs the stages of one request where they belong, and counts their time."""

from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from service.backends.base import Inference
from service.media.decoders import Decoders
from service.offload import Offload
from service.settings import Settings
from service.web.trace import Trace

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """What a request, or a file on the command line, is worked on with."""

    settings: Settings
    backend: Inference  # its models stay in the versions that they had when the request began
    offload: Offload
    slow: Offload  # for what takes a second or more: it must not hold a thread that others wait for
    decoders: Decoders  # for what clients send, which is not decoded in this process
    trace: Trace

    async def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function` in the thread pool, as part of `stage`."""
        with self.trace.stage(stage):
            return await self.offload.run(function, *args, **kwargs)

    async def run_slow(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, where only others of its kind are in the way. Raises Overloaded when too many of them wait."""
        with self.trace.stage(stage):
            return await self.slow.run(function, *args, **kwargs)

    def iterate(self, stage: str, items: Iterator[T]) -> AsyncGenerator[T, None]:
        """`items`, each made in the thread pool when it is asked for, as part of `stage`."""
        return self.offload.iterate(self.trace.timed(stage, items))
