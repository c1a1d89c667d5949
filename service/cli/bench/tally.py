"""What a run of load saw: answers and errors with their times, for each workload."""

from dataclasses import dataclass, field
from typing import Any

from service.cli.bench.histogram import Histogram

PERCENTILES = (50, 90, 99, 99.9)


@dataclass
class Tally:
    """Of one workload, or of all of them. Latency counts from when the request was to be sent."""

    target_s: float
    good: int = 0  # answered within the target
    answers: Histogram = field(default_factory=Histogram)
    errors: dict[str, Histogram] = field(default_factory=dict)  # by kind

    @property
    def failed(self) -> int:
        return sum(histogram.count for histogram in self.errors.values())

    def record(self, latency_s: float, error: str | None) -> None:
        """`error` None: answered with success."""
        if error is not None:
            self.errors.setdefault(error, Histogram()).record(latency_s)
            return
        self.good += latency_s <= self.target_s
        self.answers.record(latency_s)

    def add(self, other: "Tally") -> None:
        self.good += other.good
        self.answers.add(other.answers)
        for kind, histogram in other.errors.items():
            self.errors.setdefault(kind, Histogram()).add(histogram)

    def summary(self, seconds: float) -> dict[str, Any]:
        """As JSON has it: rates a second over a run of that length, latencies in milliseconds."""
        return {
            "sent": self.answers.count + self.failed,
            "answered": self.answers.count,
            "throughput_per_s": round(self.answers.count / seconds, 3),
            "goodput_per_s": round(self.good / seconds, 3),
            "latency_ms": _latencies(self.answers),
            "errors": {
                kind: {"count": histogram.count, "latency_ms": _latencies(histogram)}
                for kind, histogram in sorted(self.errors.items())
            },
        }


def _latencies(histogram: Histogram) -> dict[str, float] | None:
    if not histogram.count:
        return None
    found = {f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTILES}
    found |= {"mean": histogram.total_s / histogram.count, "max": histogram.max_s}
    return {name: round(seconds * 1000, 3) for name, seconds in found.items()}
