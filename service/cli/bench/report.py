"""A run of load, as a table and as JSON."""

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from service.cli.bench.tally import PERCENTILES, Tally

ALL = "all"


@dataclass(frozen=True)
class Report:
    """`about` is how the load was made; `seconds` how long it took; `late_s` how late a request was sent at worst."""

    about: dict[str, Any]
    seconds: float
    late_s: float
    tallies: dict[str, Tally]  # by workload

    @property
    def total(self) -> Tally:
        total = Tally(next(iter(self.tallies.values())).target_s)
        for tally in self.tallies.values():
            total.add(tally)
        return total

    def json(self) -> dict[str, Any]:
        named = {**self.tallies, ALL: self.total}
        return {
            **self.about,
            "seconds": round(self.seconds, 3),
            "sent_late_ms": round(self.late_s * 1000, 3),
            "workloads": {name: tally.summary(self.seconds) for name, tally in named.items()},
        }

    def tables(self) -> list[Table]:
        """Answers; and errors where there are any."""
        summaries = self.json()["workloads"]
        if len(self.tallies) == 1:
            del summaries[ALL]
        columns = (*(f"p{percent:g}" for percent in PERCENTILES), "max")
        answers = Table("workload", "sent", "answered/s", "good/s", *(f"{column} ms" for column in columns))
        errors = Table("workload", "error", "count", "p50 ms", "p99 ms")
        for name, summary in summaries.items():
            latencies = summary["latency_ms"] or {}
            answers.add_row(
                name,
                str(summary["sent"]),
                f"{summary['throughput_per_s']:.1f}",
                f"{summary['goodput_per_s']:.1f}",
                *(f"{latencies[column]:.1f}" if latencies else "" for column in columns),
            )
            for kind, seen in summary["errors"].items():
                latencies = seen["latency_ms"]
                errors.add_row(name, kind, str(seen["count"]), f"{latencies['p50']:.1f}", f"{latencies['p99']:.1f}")
        return [answers, errors] if errors.row_count else [answers]
