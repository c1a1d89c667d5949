"""What the gateway adds to a request: `python -m tests.bench.overhead`.

The model computes next to nothing, so the time of a request is the gateway's own. `Server-Timing` of the answers says
how much of it decoding and mel are; the rest is HTTP, queues and threads.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests import tiny
from tests.bench import clips
from tests.bench.gateway import gateway
from tests.bench.load import Connection


def main(requests: Annotated[int, typer.Option(help="Requests, one after the other.")] = 300) -> None:
    with tempfile.TemporaryDirectory() as repository, gateway(tiny.build(Path(repository))) as port:
        asyncio.run(_measure(port, requests))


async def _measure(port: int, requests: int) -> None:
    connection, body = Connection(port), clips.wav()
    totals: list[float] = []
    overheads: list[float] = []
    stages: dict[str, list[float]] = {}
    for number in range(requests + 20):
        began = time.perf_counter()
        await connection.request("POST", "/v1/tokenize", body, Content_Type="audio/wav")
        total = (time.perf_counter() - began) * 1000
        if number >= 20:  # the first ones warm up
            timing = _server_timing(connection.headers["server-timing"])
            totals.append(total)
            overheads.append(total - timing["decode"] - timing["preprocess"])
            for name, duration_ms in timing.items():
                stages.setdefault(name, []).append(duration_ms)
    await connection.close()
    table = Table("p50 of a 10 s clip", "ms")
    table.add_row("whole request, as the client sees it", f"{statistics.median(totals):.2f}")
    for name, durations_ms in stages.items():
        table.add_row(f"  {name}", f"{statistics.median(durations_ms):.2f}")
    table.add_row("without decoding and mel", f"{statistics.median(overheads):.2f}")
    Console().print(table)


def _server_timing(header: str) -> dict[str, float]:
    """`decode;dur=1.5, mel;dur=2` -> milliseconds by name."""
    entries = (entry.strip().split(";dur=") for entry in header.split(","))
    return {name: float(duration) for name, duration in entries}


if __name__ == "__main__":
    typer.run(main)
