"""Mixed load for a long time: does anything grow? `python -m tests.bench.soak --minutes 20`; with --triton over the
real server.

A constant rate, a share of what the service can do, of clips to tokenise, rooms, texts and clips to embed; every few
seconds what its processes hold is looked up. Reported is the slope of each after the first fifth, and what it comes to
over the whole time: memory may grow by 2 % of itself, and nothing else at all.
"""

import asyncio
from dataclasses import astuple, fields
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from service.cli.bench.client import Client
from service.cli.bench.loops import closed_loop, open_loop
from service.cli.bench.report import Report
from service.cli.bench.tally import Tally
from service.cli.bench.workloads import mixed, parse
from tests.bench.gateway import Gateway, on_backend
from tests.bench.process import Holdings, holdings, slope_per_hour

MIX = "tokenize=4,maps=1,text=8,audio=3"
SHARE = 0.6  # of what it can do
CLIENTS, WARM_UP_S = 4, 10.0  # to find that
EVERY_S = 5.0
SETTLED = 0.2  # of the samples are from before caches and pools have their size
PARTS = 5  # of the time, of which the medians are shown
MEMORY_GROWTH = 0.02


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    triton: Annotated[bool, typer.Option("--triton", help="Over the real tritonserver.")] = False,
    minutes: Annotated[float, typer.Option(help="Length.")] = 20.0,
    mix: Annotated[str, typer.Option(help="As `auricle bench` takes it.")] = MIX,
    every: Annotated[float, typer.Option(help="Seconds between samples.")] = EVERY_S,
    rate: Annotated[float | None, typer.Option(help="Requests a second, where others load the machine too.")] = None,
) -> None:
    with on_backend(repository, triton) as (gateway, backend):
        report, samples = asyncio.run(_run(gateway, mix, minutes * 60, every, rate))
    console = Console()
    for table in report.tables():
        console.print(table)
    table, grown = _growth(samples, f"{minutes:g} minutes of {mix} on {backend}")
    console.print(table)
    failed = sorted({kind for tally in report.tallies.values() for kind in tally.errors})
    console.print(
        f"{report.about['rate_per_s']:.1f} requests a second, sent {report.late_s * 1000:.0f} ms late at worst"
    )
    console.print(f"grew: {', '.join(grown) or 'nothing'}; errors: {', '.join(failed) or 'none'}", highlight=False)
    raise typer.Exit(1 if grown or failed else 0)


async def _run(
    gateway: Gateway, mix: str, seconds: float, every: float, rate: float | None
) -> tuple[Report, dict[float, Holdings]]:
    client, weights = Client(gateway.url, None, timeout_s=60), parse(mix)
    requests, first = mixed(weights), Tally(target_s=1)
    await closed_loop(client, requests, CLIENTS, WARM_UP_S, lambda *_: None)
    await closed_loop(client, requests, CLIENTS, WARM_UP_S, lambda _, s, error: first.record(s, error))
    rate = rate or SHARE * first.answers.count / WARM_UP_S
    tallies = {name: Tally(target_s=1) for name in weights}
    samples: dict[float, Holdings] = {}
    clock = asyncio.get_running_loop().time
    start = clock()

    async def sample() -> None:
        while True:
            samples[clock() - start] = await asyncio.to_thread(holdings, gateway.pid)
            await asyncio.sleep(every)

    sampling = asyncio.create_task(sample())
    late_s = await open_loop(client, requests, rate, seconds, lambda name, s, error: tallies[name].record(s, error))
    sampling.cancel()
    await asyncio.wait({sampling})
    await client.close()
    return Report({"rate_per_s": rate}, clock() - start, late_s, tallies), samples


def _growth(samples: dict[float, Holdings], title: str) -> tuple[Table, list[str]]:
    """And the names of what grew."""
    table, grown = (
        Table("", *(f"{part + 1}/{PARTS}" for part in range(PARTS)), "most", "slope an hour", title=title),
        [],
    )
    times = list(samples)
    kept = slice(round(SETTLED * len(times)), None)
    for column, field in zip(zip(*map(astuple, samples.values()), strict=True), fields(Holdings), strict=True):
        slope = slope_per_hour(times[kept], list(column)[kept])
        growth = slope * (times[-1] - times[kept][0]) / 3600
        if growth > (MEMORY_GROWTH * column[kept][0] if field.name == "memory_mb" else 0.5):
            grown.append(field.name)
        figures = (*(float(np.median(part)) for part in np.array_split(column, PARTS)), max(column))
        table.add_row(field.name.replace("_", " "), *(f"{value:.0f}" for value in figures), f"{slope:+.1f}")
    return table, grown


if __name__ == "__main__":
    typer.run(main)
