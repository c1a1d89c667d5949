"""Does anything block the event loop? `python -m tests.bench.livez`: probes while 32 clients tokenise."""

import asyncio
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from tests.bench import clips
from tests.bench.gateway import gateway
from tests.bench.load import Connection, closed_loop

CLIENTS = 32
INTERVAL_S = 0.02


def main(
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    seconds: Annotated[float, typer.Option(help="Length of the measurement.")] = 20.0,
) -> None:
    with gateway(repository) as port:
        idle = asyncio.run(_probe(port, 3.0))
        busy, clips_per_s = asyncio.run(_probe_under_load(port, seconds))
    for name, latencies_ms in (("idle", idle), (f"{CLIENTS} clients, {clips_per_s:.1f} clips/s", busy)):
        p50, p99 = np.percentile(latencies_ms, [50, 99])
        Console().print(f"GET /livez, {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {max(latencies_ms):.1f} ms")


async def _probe(port: int, seconds: float) -> list[float]:
    connection = Connection(port)
    latencies_ms = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        await connection.request("GET", "/livez")
        latencies_ms.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(INTERVAL_S)
    await connection.close()
    return latencies_ms


async def _probe_under_load(port: int, seconds: float) -> tuple[list[float], float]:
    body = clips.wav()
    connections = [Connection(port) for _ in range(CLIENTS)]
    calls = [
        partial(connection.request, "POST", "/v1/tokenize", body, Content_Type="audio/wav")
        for connection in connections
    ]
    latencies_ms, load = await asyncio.gather(_probe(port, seconds), closed_loop(calls, seconds))
    for connection in connections:
        await connection.close()
    return latencies_ms, load.per_s


if __name__ == "__main__":
    typer.run(main)
