"""Three times as much as the service can do: `python -m tests.bench.overload`; with --triton over the real server.

What must hold: goodput stays at 90 % of its maximum, what is refused is refused within 50 ms (p99), memory is flat from
a first such time to a second one, and 5 s later latency is what it was before. The maximum is the best of two: what
clients get that wait for their answers, and what a constant rate just below that gets. The load comes from `auricle
bench`'s own loops, in this process: it takes its share of the cores, and how late it was with sending is in the table.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from service.cli.bench.client import Client, Request
from service.cli.bench.loops import Load
from service.cli.bench.tally import Tally
from service.cli.bench.workloads import mixed, parse
from tests.bench.gateway import Gateway, on_backend
from tests.bench.process import holdings

TIMES = 3.0
NEARLY, CALM = 0.9, 0.5  # of what it can do
RECOVERY_S = 5.0
QUEUE = 0.5  # of the target: what may wait in the gateway, as who promises a latency sets it
SETTLING = 0.25  # of a phase, until queues have the length that they keep


@dataclass(frozen=True)
class Phase:
    """A stretch of load, and what came of it."""

    name: str
    rate: float | None
    seconds: float  # that were counted: what ends before the load has settled, or after its end, is not
    tail_s: float  # from the end of the load to the last answer
    late_s: float
    memory_mb: float
    tally: Tally

    @property
    def goodput(self) -> float:
        return self.tally.good / self.seconds

    def error_ms(self, percent: float) -> float:
        """Of all refusals."""
        return max((each.percentile(percent) * 1000 for each in self.tally.errors.values()), default=0.0)


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    triton: Annotated[bool, typer.Option("--triton", help="Over the real tritonserver.")] = False,
    mix: Annotated[str, typer.Option(help="As `auricle bench` takes it.")] = "tokenize",
    seconds: Annotated[float, typer.Option(help="Length of each phase.")] = 20.0,
    clients: Annotated[int, typer.Option(help="That wait for their answers, to find the maximum.")] = 16,
    target_ms: Annotated[float, typer.Option(help="Later answers are no goodput.")] = 2000.0,
) -> None:
    queue = {"AURICLE_MAX_QUEUE_S": str(QUEUE * target_ms / 1000)}
    with on_backend(repository, triton, **queue) as (gateway, backend):
        phases = asyncio.run(_run(gateway, mix, seconds, clients, target_ms / 1000))
    Console().print(_table(f"{mix} on {backend}", phases))
    held = list(_verdicts(phases))
    for holds, text in held:
        Console().print(f"{'[green]holds' if holds else '[red]FAILS'}[/]: {text}", highlight=False)
    raise typer.Exit(0 if all(holds for holds, _ in held) else 1)


async def _run(gateway: Gateway, mix: str, seconds: float, clients: int, target_s: float) -> dict[str, Phase]:
    client, requests = Client(gateway.url, None, timeout_s=60), mixed(parse(mix))
    phases: dict[str, Phase] = {}

    async def phase(name: str, rate: float | None, length: float, settling: float = SETTLING) -> Phase:
        load = Load(rate, clients)
        phases[name] = await _load(client, requests, gateway, name, load, length, settling * length, target_s)
        return phases[name]

    await phase("warm-up", None, seconds / 4)
    if not (most := (await phase("closed loop", None, seconds)).goodput):
        raise typer.BadParameter("nothing was answered in time: a longer --target-ms, or fewer --clients")
    await phase("nearly all", NEARLY * most, seconds)
    await phase("before", CALM * most, seconds)
    await phase("overload", TIMES * most, seconds)
    tail_s = (await phase("and again", TIMES * most, seconds)).tail_s
    await phase("recovery", CALM * most, max(0.5, RECOVERY_S - tail_s), settling=0)
    await phase("after", CALM * most, seconds, settling=0)
    await client.close()
    return phases


async def _load(
    client: Client,
    requests: Iterator[Request],
    gateway: Gateway,
    name: str,
    load: Load,
    seconds: float,
    settled_s: float,
    target_s: float,
) -> Phase:
    tally = Tally(target_s)
    clock = asyncio.get_running_loop().time
    start = clock()

    def record(workload: str, latency_s: float, error: str | None) -> None:
        if settled_s <= clock() - start <= seconds:
            tally.record(latency_s, error)

    late_s = await load.run(client, requests, seconds, record)
    tail_s = max(0.0, clock() - start - seconds)
    return Phase(name, load.rate, seconds - settled_s, tail_s, late_s, holdings(gateway.pid).memory_mb, tally)


def _verdicts(phases: dict[str, Phase]) -> Iterator[tuple[bool, str]]:
    before, overload, again, after = (phases[name] for name in ("before", "overload", "and again", "after"))
    most = max(phases["closed loop"].goodput, phases["nearly all"].goodput)
    share = min(overload.goodput, again.goodput) / most
    yield share >= 0.9, f"goodput under overload is {share:.1%} of its maximum, {most:.1f}/s (at least 90 %)"
    refused_ms = max(overload.error_ms(99), again.error_ms(99))
    refused = overload.tally.failed + again.tally.failed
    yield refused_ms <= 50, f"{refused} refused, p99 {refused_ms:.1f} ms (at most 50 ms)"
    grown = again.memory_mb / overload.memory_mb - 1
    yield grown <= 0.02, f"memory of the second is {grown:+.1%} of the first, {overload.memory_mb:.0f} MB (at most 2 %)"
    was, now = (phase.tally.answers.percentile(99) * 1000 for phase in (before, after))
    text = f"p99 {RECOVERY_S:g} s after it is {now:.0f} ms, and was {was:.0f} ms (at most half as long again)"
    yield now <= 1.5 * was and not after.tally.failed, text


def _table(title: str, phases: dict[str, Phase]) -> Table:
    table = Table(title=f"{title}, times in ms", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("phase", "asked/s", "good/s", "p50", "p99", "errors", "p99", "late", "MB"):
        table.add_column(column, justify="left" if column == "phase" else "right", no_wrap=True)
    for phase in phases.values():
        answers, tally = phase.tally.answers, phase.tally
        latencies = [f"{answers.percentile(percent) * 1000:.0f}" for percent in (50, 99)]
        asked = "all" if phase.rate is None else f"{phase.rate:.1f}"
        errors = [str(tally.failed), f"{phase.error_ms(99):.1f}"] if tally.failed else ["", ""]
        ours = [f"{phase.late_s * 1000:.0f}", f"{phase.memory_mb:.0f}"]
        table.add_row(phase.name, asked, f"{phase.goodput:.1f}", *latencies, *errors, *ours)
    kinds = sorted({kind for phase in phases.values() for kind in phase.tally.errors})
    table.caption = f"errors: {', '.join(kinds)}" if kinds else None
    return table


if __name__ == "__main__":
    typer.run(main)
