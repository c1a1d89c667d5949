"""`python -m tests.hostile [--times N]`: the whole corpus, N times as large, against the application in memory."""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from service.app import create_app
from service.settings import Settings
from tests import tiny
from tests.api.conftest import in_memory
from tests.hostile.corpus import MUTANTS, corpus, real
from tests.hostile.judge import Footprint, judge

_ROUNDS = 4  # of the corpus, so that growth shows


async def run(times: int, folder: Path) -> int:
    settings = Settings(model_repository=tiny.build(folder / "models"), vector_store=folder / "vectors")
    app = create_app(settings)
    requests = list(corpus({kind: times * count for kind, count in MUTANTS.items()}))
    table = Table("requests", "statuses", "MB", "descriptors", "threads", "s")
    found: list[str] = []
    async with in_memory(app) as client:
        await judge(client, real())
        share = -(-len(requests) // _ROUNDS)
        for first in range(0, len(requests), share):
            begun = time.perf_counter()
            part = requests[first : first + share]
            statuses, faults = await judge(client, part)
            found += faults
            held = Footprint.of(app)
            counted = " ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
            numbers = (f"{held.megabytes:.0f}", str(held.descriptors), str(held.threads))
            table.add_row(str(len(part)), counted, *numbers, f"{time.perf_counter() - begun:.0f}")
    console = Console()
    console.print(table)
    for fault in found:
        console.print(fault, markup=False)
    console.print(f"{len(requests)} hostile requests, {len(found)} faults")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=1)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(parser.parse_args().times, Path(folder)))


if __name__ == "__main__":
    raise SystemExit(main())
