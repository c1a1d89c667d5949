"""The trace of one request: its id, how long each stage took, and the spans of the stages where they are traced."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from service import spans
from service.spans import Span

T = TypeVar("T")

STAGES = ("decode", "preprocess", "infer", "store", "postprocess", "encode")

_SANE_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")


@dataclass(slots=True)
class Trace:
    """Stages overlap, as a window is decoded while earlier ones are inferred: their sum can exceed the total."""

    request_id: str
    span: Span | None = None  # of the whole request; None: nobody traces it
    started: float = field(default_factory=time.perf_counter)
    stages: dict[str, float] = field(default_factory=dict)  # seconds
    problem: str | None = None  # slug of the problem that was answered
    _open: dict[str, tuple[int, float]] = field(default_factory=dict)
    _spans: dict[str, Span] = field(default_factory=dict)  # of the stages

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time inside; time that several tasks spend in the same stage at once is counted once."""
        depth, since = self._open.get(name, (0, time.perf_counter()))
        self._open[name] = (depth + 1, since)
        try:
            with self._seen(name):
                yield
        finally:
            depth, since = self._open.pop(name)
            if depth > 1:
                self._open[name] = (depth - 1, since)
            else:
                self._add(name, time.perf_counter() - since)

    def timed(self, name: str, items: Iterator[T], *, within: str | None = None) -> Iterator[T]:
        """Yields from `items` and counts the time that producing each takes; `within` is the stage that pulls them."""
        try:
            yield from self._timed(name, items, within)
        finally:
            if close := getattr(items, "close", None):
                close()

    def _timed(self, name: str, items: Iterator[T], within: str | None) -> Iterator[T]:
        while True:
            begin = time.perf_counter()
            try:
                with self._seen(name):
                    item = next(items)
            except StopIteration:
                return
            finally:
                spent = time.perf_counter() - begin
                self._add(name, spent)
                if within is not None:
                    self._add(within, -spent)
            yield item

    def elapsed(self) -> float:
        """Seconds since the request came in."""
        return time.perf_counter() - self.started

    def server_timing(self) -> str:
        """The value of the Server-Timing header, in milliseconds."""
        stages = {name: self.stages[name] for name in STAGES if name in self.stages} | {"total": self.elapsed()}
        return ", ".join(f"{name};dur={max(seconds, 0) * 1000:.1f}" for name, seconds in stages.items())

    def end_stages(self) -> None:
        """Ends the span of each stage where its last part ended; `busy_ms` is what it did not wait.

        A thread may be at work still for a request that was given up: its stage has taken no time yet, or it begins
        another one meanwhile.
        """
        for name, span in self._spans.copy().items():
            busy_s = max(self.stages.get(name, 0.0), 0.0)
            span.end({"auricle.stage.busy_ms": round(busy_s * 1000, 3)})

    def _add(self, name: str, seconds: float) -> None:
        self.stages[name] = self.stages.get(name, 0.0) + seconds

    @contextmanager
    def _seen(self, name: str) -> Iterator[None]:
        """A stage has one span, however many parts it has: from the beginning of the first to the end of the last."""
        if self.span is None:
            yield
            return
        if name not in self._spans:
            self._spans[name] = self.span.child(name)
        span = self._spans[name]
        try:
            with spans.within(span):
                yield
        finally:
            span.pause()


def request_id(proposed: str | None) -> str:
    """The client's own id if it is safe to log and to echo, else a new one."""
    return proposed if proposed and _SANE_ID.fullmatch(proposed) else uuid.uuid4().hex
