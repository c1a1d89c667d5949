"""Admission: refuses at once what would wait too long, instead of letting it queue. Knows nothing of HTTP.

The queue is bounded by the estimated seconds that the whole service needs for what it has let in. An estimate is a
nominal cost, which the size of a request tells, times what its kind turned out to cost on this machine. That is
measured by virtual time, as in weighted fair queueing: while n requests are worked on, each is charged 1/n of the time,
so the charges of all add up to the time that has passed, however many ran side by side. A file may claim what it likes
in its header: one request moves the factor of its kind by a half at most.

Every key may have up to `_SHARE` times the room that is left (dynamic thresholds, Choudhury and Hahne 1998): one alone
gets two thirds of the queue, two get two fifths each, and there is always room for one that has asked for nothing yet.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.errors import DeadlineExceeded, Overloaded

Report = Callable[[float, float], None]  # seconds of work that is let in, and the bound

_SHARE = 2.0
_LARGEST = 0.25  # of the bound: long requests are worked on in windows, between which others pass
_MEMORY = 0.95  # a request weighs so much less with each of its kind that follows
_LEAST, _MOST = 0.25, 4.0  # of what was expected, or is usual, that one request is believed to cost
_MAX_RETRY_S = 30


class Admission:
    """Not for several threads. `work` is in estimated seconds; `capacity` is the bound on it."""

    def __init__(self, capacity_s: float, report: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self.work, self.capacity = 0.0, capacity_s
        self._report, self._clock = report, clock
        self._shares: defaultdict[str, float] = defaultdict(float)  # of the work, by key
        self._costs: defaultdict[str, _Cost] = defaultdict(_Cost)  # by kind
        self._running, self._charged, self._since = 0, 0.0, clock()
        report(self.work, self.capacity)

    def check(self, key: str | None) -> None:
        """Raises Overloaded where nothing more of this key is let in; without keys, there is only the one bound."""
        if self.work >= self.capacity:
            raise self._refusal(f"the requests before this one take more than {self.capacity:g} s")
        if key is not None and self._shares.get(key, 0.0) >= _SHARE * (self.capacity - self.work):
            raise self._refusal("the requests of this API key take all of its share of the service")

    @contextmanager
    def admit(self, kind: str, nominal_s: float, key: str | None) -> Iterator[None]:
        """Counts a request while it is worked on, and learns what it cost. Raises Overloaded."""
        self.check(key)
        estimate = min(nominal_s * self._costs[kind].factor, _LARGEST * self.capacity)
        self._add(estimate, key)
        begun = self._advance(+1)
        try:
            yield
        except DeadlineExceeded:
            self._costs[kind].learn(self._advance(0) - begun, nominal_s)
            raise
        else:  # what was refused says nothing about the cost of what is not
            self._costs[kind].learn(self._advance(0) - begun, nominal_s)
        finally:
            self._advance(-1)
            self._add(-estimate, key)

    def _add(self, estimate: float, key: str | None) -> None:
        self.work += estimate
        if key is not None:
            self._shares[key] += estimate
        if not self._running:  # nothing is left, not even what rounding leaves
            self.work = max(estimate, 0.0)
            self._shares = defaultdict(float, {key: self.work} if key is not None and self.work else {})
        self._report(self.work, self.capacity)

    def _advance(self, change: int) -> float:
        """The virtual time now: what a request would have been charged that ran since the beginning."""
        now = self._clock()
        if self._running:
            self._charged += (now - self._since) / self._running
        self._since = now
        self._running += change
        return self._charged

    def _refusal(self, detail: str) -> Overloaded:
        return Overloaded(detail, retry_after=max(1, min(_MAX_RETRY_S, math.ceil(self.work / 2))))


class _Cost:
    """How many times its nominal cost a kind of request costs, of late, all of them together."""

    def __init__(self) -> None:
        self._charged_s = self._nominal_s = self._usual_s = 0.0

    @property
    def factor(self) -> float:
        return self._charged_s / self._nominal_s if self._nominal_s else 1.0

    def learn(self, charged_s: float, nominal_s: float) -> None:
        self._usual_s = self._usual_s or nominal_s
        surprise = charged_s / (self.factor * nominal_s)
        nominal_s = min(nominal_s, _MOST * self._usual_s)
        charged_s = min(max(surprise, _LEAST), _MOST) * self.factor * nominal_s
        if not self._nominal_s:  # as if so many had cost what they were said to
            self._charged_s = self._nominal_s = nominal_s / (1 - _MEMORY)
        self._usual_s += (1 - _MEMORY) * (nominal_s - self._usual_s)
        self._charged_s = _MEMORY * self._charged_s + charged_s
        self._nominal_s = _MEMORY * self._nominal_s + nominal_s
