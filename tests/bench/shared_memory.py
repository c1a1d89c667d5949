"""Large tensors to a Triton on the same host, through shared memory or gRPC: `python -m tests.bench.shared_memory`.

The model doubles its numbers, so that a request costs what its transport costs. Both ways are measured in turns, in one
process on one server; "CPU" is this process's own, which is the gateway's share.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from service.backends.triton.backend import Triton
from tests.backends import models
from tests.tritonserver.server import TritonServer

SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 13 << 20)  # bytes in, and as many out


def main(rounds: Annotated[int, typer.Option(help="Requests of each size and way.")] = 30) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "work").mkdir()
        server = TritonServer(models.build(Path(folder) / "models", "whole"), Path(folder) / "work")
        server.start()
        try:
            Console().print(asyncio.run(_measure(server.url, rounds)))
        finally:
            server.kill()


async def _measure(url: str, rounds: int) -> Table:
    ways = {"gRPC": Triton([url]), "shared memory": Triton([url], shared_memory=1)}
    for backend in ways.values():
        await backend.start()
    table = Table(title="one request after the other, medians")
    for column in ("bytes in and out", *(f"{way}, {what}" for what in ("ms", "CPU ms") for way in ways), "CPU ratio"):
        table.add_column(column, justify="right")
    for size in SIZES:
        x = np.random.default_rng(0).normal(size=size // 4).astype(np.float32)
        wall: dict[str, list[float]] = {way: [] for way in ways}
        cpu: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(rounds + 2):
            for way, backend in ways.items():
                began, began_cpu = time.perf_counter(), time.process_time()
                answer = await backend.infer("whole", {"x": x})
                spent, spent_cpu = time.perf_counter() - began, time.process_time() - began_cpu
                np.testing.assert_array_equal(answer["y"], 2 * x)
                if number >= 2:  # the first ones learn how large the answer is
                    wall[way].append(spent * 1000)
                    cpu[way].append(spent_cpu * 1000)
        row = [statistics.median(kind[way]) for kind in (wall, cpu) for way in ways]
        table.add_row(f"{size:,}", *(f"{value:.2f}" for value in row), f"{row[2] / row[3]:.1f}")
    for backend in ways.values():
        await backend.close()
    return table


if __name__ == "__main__":
    typer.run(main)
