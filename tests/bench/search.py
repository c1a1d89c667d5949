"""How fast and how surely a collection is searched: `python -m tests.bench.search --windows 20000 --dims 384`.

Recall is of the ten nearest, against all pairs in NumPy, whose own time is in the last row; vectors are drawn around
centres, as those of real recordings are. `--url` measures a Milvus server, else the embedded engine is measured.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from service.settings import Settings
from service.vectors.auto import create
from service.vectors.base import Collection, Engine, Item
from service.vectors.filters import Filter, parse
from service.vectors.store import Store

K, GROUPS, NAME = 10, 20, "bench"


def main(
    windows: Annotated[int, typer.Option(help="Vectors in the collection.")] = 100_000,
    dims: int = 512,
    queries: int = 100,
    batch: Annotated[int, typer.Option(help="Items of one write.")] = 500,
    url: Annotated[str | None, typer.Option(help="Of a Milvus server.", show_default=False)] = None,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(vector_store=Path(folder), vector_url=url, deadline_s=600)
        asyncio.run(_measure(create(settings), windows, dims, queries, batch))


async def _measure(store: Store, windows: int, dims: int, queries: int, batch: int) -> None:
    stored, asked, groups = _draw(windows, dims, queries)
    await store.run(Engine.create, Collection(NAME, dims, "cosine", "bench"))
    table = Table(f"{windows} x {dims}", "p50 ms", "p99 ms", f"recall@{K}")
    try:
        began = time.perf_counter()
        for start in range(0, windows, batch):
            await store.run(Engine.upsert, NAME, _items(stored, groups, range(start, min(windows, start + batch))))
        seconds = time.perf_counter() - began
        while pending := (await store.run(Engine.stats, NAME)).pending:
            Console(stderr=True).print(f"{pending} are not indexed yet")
            await asyncio.sleep(2)
        everywhere, somewhere = np.ones(windows, bool), groups == 3
        for label, condition, among in (
            ("all", None, everywhere),
            (f"filtered, 1 in {GROUPS}", parse({"group": 3}), somewhere),
        ):
            found, times = await _search(store, asked, condition)
            table.add_row(label, *_percentiles(times), f"{_recall(found, _exact(stored, asked, among)[0]):.4f}")
        table.add_row("all pairs in NumPy", *_percentiles(_exact(stored, asked, everywhere)[1]), "1.0000")
    finally:
        await store.run(Engine.drop, NAME)
        await store.close()
    Console().print(table)
    Console().print(f"written and on disk: {windows / seconds:.0f} vectors/s, {batch} items at a time")


def _draw(windows: int, dims: int, queries: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Stored vectors [N, D], queries [Q, D] near to some of them, and the group [N] of each."""
    noise = np.random.default_rng(0)
    centres = noise.normal(size=(max(1, windows // 50), dims))
    stored = centres[noise.integers(len(centres), size=windows)] + 0.6 * noise.normal(size=(windows, dims))
    asked = stored[noise.integers(windows, size=queries)] + 0.3 * noise.normal(size=(queries, dims))
    return stored.astype(np.float32), asked.astype(np.float32), noise.integers(GROUPS, size=windows)


def _items(stored: NDArray[np.float32], groups: NDArray[np.int64], numbers: range) -> list[Item]:
    return [Item(str(n), stored[n][None], [None], {"group": int(groups[n])}) for n in numbers]


async def _search(
    store: Store, asked: NDArray[np.float32], condition: Filter | None
) -> tuple[list[set[int]], list[float]]:
    found, times = [], []
    for vector in asked:
        began = time.perf_counter()
        hits = await store.run(Engine.search, NAME, vector, K, condition, 1)
        times.append(time.perf_counter() - began)
        found.append({int(hit.id) for hit in hits})
    return found, times


def _exact(
    stored: NDArray[np.float32], asked: NDArray[np.float32], among: NDArray[np.bool_]
) -> tuple[list[set[int]], list[float]]:
    numbers = np.flatnonzero(among)
    vectors = stored[numbers] / np.linalg.norm(stored[numbers], axis=1, keepdims=True)
    found, times = [], []
    for vector in asked:
        began = time.perf_counter()
        best = np.argpartition(-(vectors @ vector), K)[:K]
        times.append(time.perf_counter() - began)
        found.append(set(numbers[best].tolist()))
    return found, times


def _recall(found: Sequence[set[int]], exact: Sequence[set[int]]) -> float:
    return float(np.mean([len(some & best) / len(best) for some, best in zip(found, exact, strict=True)]))


def _percentiles(seconds: Sequence[float]) -> tuple[str, str]:
    return f"{1000 * np.percentile(seconds, 50):.1f}", f"{1000 * np.percentile(seconds, 99):.1f}"


if __name__ == "__main__":
    typer.run(main)
