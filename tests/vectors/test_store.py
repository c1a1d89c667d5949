"""The embedded engine in its process: bounded, replaced when it is killed, and one owner at a time."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from service.errors import BackendUnavailable, CollectionNotFound, DeadlineExceeded, InvalidInput, Overloaded
from service.settings import Settings
from service.vectors.auto import create
from service.vectors.base import MAX_COLLECTIONS, Collection, Engine, Item
from service.vectors.store import Store

PLAIN = Collection("plain", 4, "cosine", "space-1")


def items(count: int) -> list[Item]:
    vectors = np.random.default_rng(0).normal(size=(count, 1, 4)).astype(np.float32)
    return [Item(f"i{number}", vector, [None], {"n": number}) for number, vector in enumerate(vectors)]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(vector_store=tmp_path / "vectors")


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    store = create(settings)
    yield store
    await store.close()


def child_of(store: Store) -> int:
    (process,) = store._pool._processes.values()  # type: ignore[union-attr]
    return int(process.pid)


async def test_calls_and_errors_cross_the_process(store: Store) -> None:
    await store.run(Engine.create, PLAIN)
    await store.run(Engine.upsert, "plain", items(3))
    hits = await store.run(Engine.search, "plain", items(3)[1].vectors[0], 1, None, 1)
    assert [(hit.id, dict(hit.metadata)) for hit in hits] == [("i1", {"n": 1})]
    with pytest.raises(CollectionNotFound, match="no collection 'other'"):
        await store.run(Engine.stats, "other")


async def test_a_process_that_was_killed_is_replaced_and_has_lost_nothing(store: Store) -> None:
    await store.run(Engine.create, PLAIN)
    await store.run(Engine.upsert, "plain", items(10))
    os.kill(child_of(store), signal.SIGKILL)
    with pytest.raises(BackendUnavailable, match="starts again"):
        await asyncio.gather(*(store.run(Engine.stats, "plain") for _ in range(50)))
    assert (await store.run(Engine.stats, "plain")).items == 10


async def test_a_process_that_is_killed_while_it_writes_loses_nothing_acknowledged(store: Store) -> None:
    await store.run(Engine.create, PLAIN)
    everything, written = items(2000), 0
    for kill_at in (100, 300):
        killer: asyncio.Future[None] | None = None
        with suppress(BackendUnavailable):
            while written < len(everything):
                await store.run(Engine.upsert, "plain", everything[written : written + 20])
                written += 20
                if written >= kill_at and killer is None:
                    killer = asyncio.ensure_future(asyncio.to_thread(os.kill, child_of(store), signal.SIGKILL))
        assert killer is not None
        await killer
        assert (await store.run(Engine.stats, "plain")).items in (written, written + 20)
    for number in range(0, written, 9):
        assert await store.run(Engine.get, "plain", f"i{number}") is not None


async def test_signals_to_the_whole_group_leave_the_process_to_its_parent(store: Store) -> None:
    await store.run(Engine.create, PLAIN)
    child = child_of(store)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(child, number)
    await store.run(Engine.upsert, "plain", items(2))
    assert child_of(store) == child


async def test_a_full_queue_refuses_at_once(settings: Settings) -> None:
    store = create(settings.model_copy(update={"max_queued_jobs": 2}))
    await store.run(Engine.create, PLAIN)
    outcomes = await asyncio.gather(
        *(store.run(Engine.upsert, "plain", items(500)) for _ in range(5)), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes].count(Overloaded) == 3
    assert (await store.run(Engine.stats, "plain")).items == 500
    await store.close()


async def test_a_deadline_ends_the_wait(settings: Settings) -> None:
    store = create(settings.model_copy(update={"deadline_s": 0.001}))
    with pytest.raises(DeadlineExceeded):
        await store.run(Engine.create, PLAIN)
    await store.close()


async def test_a_second_store_waits_for_the_first_to_close(settings: Settings, store: Store) -> None:
    await store.run(Engine.create, PLAIN)
    second = create(settings)
    with pytest.raises(BackendUnavailable, match="Another process"):
        await second.run(Engine.collections)
    waiting = asyncio.create_task(second.run(Engine.collections))
    await store.close()
    assert await waiting == [PLAIN]
    await second.close()


async def test_what_was_begun_and_never_finished_is_cleared_away(settings: Settings, store: Store) -> None:
    unfinished = settings.vector_store / ".plain" / "shard"
    unfinished.mkdir(parents=True)
    assert await store.run(Engine.collections) == []
    await store.run(Engine.create, PLAIN)
    assert not unfinished.exists()


async def test_there_are_so_many_collections_and_no_more(settings: Settings, store: Store) -> None:
    for number in range(MAX_COLLECTIONS):
        folder = settings.vector_store / f"c{number}"
        folder.mkdir(parents=True)
        (folder / "collection.json").write_text(json.dumps(asdict(PLAIN)))
    with pytest.raises(InvalidInput, match="100 collections"):
        await store.run(Engine.create, PLAIN)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    store = create(Settings(vector_url="http://127.0.0.1:9", deadline_s=2))
    with pytest.raises((BackendUnavailable, DeadlineExceeded)):
        await store.run(Engine.collections)
    await store.close()
