"""A run of load, as a table and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
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
        answers = _table("answers a second, latencies in ms", "workload", "sent", "all/s", "good/s", *columns)
        errors = _table("errors, latencies in ms", "workload", "error", "count", "p50", "p99")
        for name, summary in summaries.items():
            rates = [f"{summary[rate]:.1f}" for rate in ("throughput_per_s", "goodput_per_s")]
            answers.add_row(name, str(summary["sent"]), *rates, *_shown(summary["latency_ms"], columns))
            for kind, seen in summary["errors"].items():
                errors.add_row(name, kind, str(seen["count"]), *_shown(seen["latency_ms"], ("p50", "p99")))
        return [answers, errors] if errors.row_count else [answers]


def _table(title: str, *columns: str) -> Table:
    """Narrow enough for 80 columns."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        text = column in ("workload", "error")
        table.add_column(column, justify="left" if text else "right", no_wrap=True)
    return table


def _shown(latencies: dict[str, float] | None, names: Iterable[str]) -> list[str]:
    if latencies is None:
        return []
    return [f"{latencies[name]:.1f}" if latencies[name] < 100 else f"{latencies[name]:.0f}" for name in names]
