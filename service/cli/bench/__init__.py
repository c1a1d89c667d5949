"""`auricle bench`: loads a running service, and says what its users would have seen."""

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import typer
from httptools import HttpParserError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.bench.client import Client
from service.cli.bench.loops import Load
from service.cli.bench.report import Report
from service.cli.bench.tally import Tally
from service.cli.bench.workloads import WORKLOADS, mixed, parse
from service.cli.environment import complain, console, fail

_TICK_S = 0.2


@dataclass(frozen=True)
class Options:
    """As on the command line."""

    url: str
    api_key: str | None
    mix: str
    rate: float | None
    clients: int
    seconds: float
    warm_up_s: float
    timeout_s: float
    target_ms: float
    out: Path | None


def run(options: Options) -> int:
    """Returns the exit code: 1 where nothing was answered."""
    try:
        client, weights = Client(options.url, options.api_key, options.timeout_s), parse(options.mix)
    except ValueError as exc:
        complain(str(exc))
        raise typer.Exit(2) from exc
    report = asyncio.run(_measure(client, weights, options))
    for table in report.tables():
        Console().print(table)
    if options.out is not None:
        options.out.write_text(json.dumps(report.json(), indent=2) + "\n", encoding="utf-8")
    return 0 if report.total.answers.count else 1


async def _measure(client: Client, weights: dict[str, float], options: Options) -> Report:
    """Asks each kind of request once, then loads."""
    await _try(client, weights)
    load, requests = Load(options.rate, options.clients), mixed(weights)
    await load.run(client, requests, options.warm_up_s, lambda *_: None)
    tallies = {name: Tally(options.target_ms / 1000) for name in weights}

    def record(workload: str, latency_s: float, error: str | None) -> None:
        tallies[workload].record(latency_s, error)

    start = time.monotonic()
    showing = asyncio.create_task(_show(tallies, options.seconds))
    try:
        late_s = await load.run(client, requests, options.seconds, record)
    finally:
        showing.cancel()
        await asyncio.wait({showing})
        await client.close()
    how = {"clients": options.clients} if options.rate is None else {"rate_per_s": options.rate}
    about = {"url": options.url, "mix": weights, **how, "target_ms": options.target_ms}
    return Report(about, time.monotonic() - start, late_s, tallies)


async def _try(client: Client, names: Iterable[str]) -> None:
    """Exits with 1 where one is refused, with what the service says."""
    for name in names:
        try:
            answer = await client.answer(WORKLOADS[name]()[0])
        except (OSError, asyncio.IncompleteReadError, HttpParserError) as exc:
            fail(f"the service does not answer: {exc or type(exc).__name__}")
        if answer.error:
            fail(f"{name}: {answer.error}: {answer.detail}")


async def _show(tallies: dict[str, Tally], seconds: float) -> None:
    """A bar on the terminal, until cancelled."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        bar = bars.add_task("Loading", total=seconds)
        for tick in count(1):
            await asyncio.sleep(_TICK_S)
            answered = sum(tally.answers.count for tally in tallies.values())
            failed = sum(tally.failed for tally in tallies.values())
            bars.update(bar, completed=tick * _TICK_S, description=f"{answered} answered, {failed} failed")
