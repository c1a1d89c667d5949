"""The disk of the vector store has no room left: writing is refused, reading goes on, and room mends it."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from service.errors import StorageFull
from service.settings import Settings
from service.vectors.auto import create
from service.vectors.base import Collection, Engine, Item
from service.vectors.edge import RESERVE
from service.vectors.store import Store

COLLECTION = Collection("plain", 4, "cosine", "space-1")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, with room for one collection beside the reserve."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = RESERVE + (48 << 20)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting a disk is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
async def store(disk: Path) -> AsyncIterator[Store]:
    store = create(Settings(vector_store=disk / "vectors"))
    yield store
    await store.close()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as sink, suppress(OSError):
        while True:
            sink.write(bytes(1 << 16))


def item(number: int) -> Item:
    vector = np.random.default_rng(number).normal(size=(1, 4)).astype(np.float32)
    return Item(f"i{number}", vector, [None], {"n": number})


async def test_a_full_disk_refuses_writes_answers_searches_and_takes_writes_again(store: Store, disk: Path) -> None:
    await store.run(Engine.create, COLLECTION)
    await store.run(Engine.upsert, "plain", [item(number) for number in range(20)])
    filler = disk / "filler"
    fill(filler)
    for _ in range(3):
        with pytest.raises(StorageFull):
            await store.run(Engine.upsert, "plain", [item(20)])
        with pytest.raises(StorageFull):
            await store.run(Engine.create, Collection("other", 4, "cosine", "space-1"))
        hits = await store.run(Engine.search, "plain", item(7).vectors[0], 1, None, 1)
        assert [hit.id for hit in hits] == ["i7"]
    assert (await store.run(Engine.stats, "plain")).items == 20

    filler.unlink()
    await store.run(Engine.upsert, "plain", [item(20)])
    assert (await store.run(Engine.stats, "plain")).items == 21
