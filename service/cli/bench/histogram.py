"""Durations in fixed memory, whatever their range and however many they are."""

import math
from array import array
from dataclasses import dataclass, field

_FIRST_S = 1e-5
_GROWTH = math.log(1.01)  # each bucket is 1 % wider than the one before: a value is known to half of that
_BUCKETS = 2100  # up to 11 000 s


@dataclass
class Histogram:
    """Counts in buckets of equal relative width, as HdrHistogram does it (which has dependencies that we refuse)."""

    count: int = 0
    total_s: float = 0.0
    max_s: float = 0.0
    _counts: "array[int]" = field(default_factory=lambda: array("Q", bytes(8 * _BUCKETS)))

    def record(self, seconds: float) -> None:
        self.count += 1
        self.total_s += seconds
        self.max_s = max(self.max_s, seconds)
        index = math.ceil(math.log(seconds / _FIRST_S) / _GROWTH) if seconds > _FIRST_S else 0
        self._counts[min(index, _BUCKETS - 1)] += 1

    def add(self, other: "Histogram") -> None:
        """Counts all that `other` has."""
        self.count += other.count
        self.total_s += other.total_s
        self.max_s = max(self.max_s, other.max_s)
        self._counts = array("Q", map(sum, zip(self._counts, other._counts, strict=True)))

    def percentile(self, percent: float) -> float:
        """The duration that `percent` of all did not exceed, in seconds; NaN where there are none."""
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(_FIRST_S * math.exp((index - 0.5) * _GROWTH), self.max_s)
        return math.nan
