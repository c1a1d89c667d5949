"""How often and how many at once: what each name may do, counted in this process."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from service.errors import RateLimited

_BURST_S = 10.0  # so much of a rate may come at once
_MAX_NAMES = 10_000  # far more than keys; names of keys that are gone are forgotten beyond


@dataclass(slots=True)
class _Count:
    open: int = 0
    due: float = field(default=-math.inf)  # when all that was let in would have come, had it come evenly


class Limits:
    """Rates by the generic cell rate algorithm: one number a name, and no window at whose edge twice as much passes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    @contextmanager
    def enter(self, name: str, per_minute: float | None, at_once: int | None) -> Iterator[None]:
        """A place for one request. Raises RateLimited, which says when to come again; None is no limit."""
        count = self._count(name)
        if at_once is not None and count.open >= at_once:
            raise RateLimited(f"{at_once} requests of this API key are open, which is all that it may have at once")
        if per_minute is not None:
            self._take(count, per_minute)
        count.open += 1
        try:
            yield
        finally:
            count.open -= 1

    def _take(self, count: _Count, per_minute: float) -> None:
        now, interval = self._clock(), 60 / per_minute
        due = max(count.due, now)
        wait = due + interval - now - max(_BURST_S, interval)
        if wait > 0:
            raise RateLimited(
                f"this API key may make {per_minute:g} requests a minute", retry_after=max(1, math.ceil(wait))
            )
        count.due = due + interval

    def _count(self, name: str) -> _Count:
        if name not in self._counts and len(self._counts) >= _MAX_NAMES:
            now = self._clock()
            self._counts = {name: count for name, count in self._counts.items() if count.open or count.due > now}
        return self._counts.setdefault(name, _Count())
