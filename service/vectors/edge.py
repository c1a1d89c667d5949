"""The embedded engine: Qdrant Edge, a folder on disk for each collection. Blocks, and keeps the interpreter's lock.

What it has in memory and what it has on disk are one process's own: a lock on the folder keeps a second one out.
Searches are exact: every vector that the filter leaves is compared, 100 000 of 512 numbers in some 25 ms.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as qdrant
from numpy.typing import NDArray

from service.errors import BackendUnavailable, InvalidInput, StorageFull
from service.vectors.base import (
    MAX_COLLECTIONS,
    Collection,
    Hit,
    Item,
    Stats,
    StoredItem,
    missing,
)
from service.vectors.edge_points import (
    FIRST,
    any_of,
    beyond,
    key,
    loaded,
    of_metadata,
    point_id,
    points,
    stored,
    window,
)
from service.vectors.filters import Filter
from service.vectors.grouping import Window, nearest_items

_MAX_INDEXES = 66  # of one collection, with those of "id" and "window"
_LOCK_WAIT_S = 2.0  # a service that was just ended may still be closing its files
# Bytes that stay free. The engine writes to files that it has mapped into memory: where the disk has no room for a
# page of them, the kernel ends the process.
RESERVE = 64 << 20
_DISTANCES = {
    "cosine": qdrant.Distance.Cosine,
    "dot": qdrant.Distance.Dot,
    "euclid": qdrant.Distance.Euclid,
}
_INDEXES: Mapping[type, Any] = {
    str: qdrant.PayloadSchemaType.Keyword,
    int: qdrant.PayloadSchemaType.Float,
    float: qdrant.PayloadSchemaType.Float,
}


class Edge:
    """Implements `Engine` in `folder`. Not for several threads at once."""

    def __init__(self, folder: Path) -> None:
        """Raises BackendUnavailable while another process has the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = _locked(folder / "lock")
        self._shards: dict[str, qdrant.EdgeShard] = {}
        for unfinished in folder.glob(".*"):
            shutil.rmtree(unfinished)

    def collections(self) -> list[Collection]:
        return [self.collection(path.parent.name) for path in sorted(self._folder.glob("*/collection.json"))]

    def collection(self, name: str) -> Collection:
        try:
            return Collection(**json.loads((self._folder / name / "collection.json").read_bytes()))
        except FileNotFoundError:
            raise missing(name) from None

    def create(self, collection: Collection) -> Collection:
        if (self._folder / collection.name).exists():
            return self.collection(collection.name)
        if len(self.collections()) >= MAX_COLLECTIONS:
            raise InvalidInput(f"there are {MAX_COLLECTIONS} collections, which are all that this store takes")
        self._check_room()
        aside = self._folder / f".{collection.name}"
        shutil.rmtree(aside, ignore_errors=True)  # of a call that failed in the middle
        shard = aside / "shard"
        shard.mkdir(parents=True)
        vectors = qdrant.EdgeVectorParams(size=collection.dims, distance=_DISTANCES[collection.distance])
        created = qdrant.EdgeShard.create(str(shard), qdrant.EdgeConfig(vectors=vectors, max_search_threads=1))
        for field, kind in (("id", qdrant.PayloadSchemaType.Keyword), ("window", qdrant.PayloadSchemaType.Integer)):
            created.update(qdrant.UpdateOperation.create_field_index(field, kind))
        created.close()
        with (aside / "collection.json").open("w") as file:
            json.dump(asdict(collection), file)
            file.flush()
            os.fsync(file.fileno())
        self._rename(aside, self._folder / collection.name)
        return collection

    def drop(self, name: str) -> None:
        self.collection(name)
        if shard := self._shards.pop(name, None):
            shard.close()
        aside = self._folder / f".{name}"
        self._rename(self._folder / name, aside)
        shutil.rmtree(aside)

    def stats(self, name: str) -> Stats:
        shard = self._shard(name)
        items = shard.count(qdrant.CountRequest(filter=FIRST))
        return Stats(items=items, windows=shard.info().points_count)

    def upsert(self, name: str, items: Sequence[Item]) -> None:
        shard = self._shard(name)
        self._check_room()
        self._index(shard, items)
        shard.update(qdrant.UpdateOperation.upsert_points([point for item in items for point in points(item)]))
        shard.update(qdrant.UpdateOperation.delete_points_by_filter(beyond(items)))
        shard.flush()

    def get(self, name: str, id: str) -> StoredItem | None:  # noqa: A002
        records = self._shard(name).retrieve([point_id(id, 0)], with_payload=True, with_vector=False)
        if not records:
            return None
        payload = records[0].payload or {}
        return StoredItem(id, loaded(payload["metadata"]), payload["windows"])

    def delete(self, name: str, ids: Sequence[str]) -> int:
        return self._delete(name, any_of(ids))

    def delete_where(self, name: str, condition: Filter) -> int:
        return self._delete(name, of_metadata(condition))

    def search(
        self, name: str, vector: NDArray[np.float32], k: int, condition: Filter | None, matches: int
    ) -> list[Hit]:
        shard, sign = self._shard(name), -1 if self.collection(name).distance == "euclid" else 1
        query = qdrant.Query.Nearest(vector.tolist())
        wanted: list[Any] = [] if condition is None else [of_metadata(condition)]

        def nearest_windows(limit: int, without: Sequence[str]) -> list[Window]:
            conditions = qdrant.Filter(must=wanted, must_not=[any_of(without)] if without else None)
            request = qdrant.QueryRequest(
                limit=limit, query=query, filter=conditions if wanted or without else None, with_payload=True
            )
            return [window(point.payload or {}, sign * point.score) for point in shard.query(request)]

        return nearest_items(nearest_windows, k, matches)

    def close(self) -> None:
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()
        os.close(self._lock)

    def _shard(self, name: str) -> qdrant.EdgeShard:
        if name not in self._shards:
            self.collection(name)
            self._shards[name] = qdrant.EdgeShard.load(str(self._folder / name / "shard"))
        return self._shards[name]

    def _check_room(self) -> None:
        if shutil.disk_usage(self._folder).free < RESERVE:
            raise StorageFull("The disk of the vector store is full; deleting items or files makes room.")

    def _delete(self, name: str, condition: qdrant.Filter) -> int:
        shard = self._shard(name)
        count = shard.count(qdrant.CountRequest(filter=qdrant.Filter(must=[condition, FIRST])))
        shard.update(qdrant.UpdateOperation.delete_points_by_filter(condition))
        shard.flush()
        return count

    def _index(self, shard: qdrant.EdgeShard, items: Sequence[Item]) -> None:
        """An index of each field of metadata, by the type that it has first. Beyond _MAX_INDEXES there is none."""
        known = set(shard.info().payload_schema)
        fields = {key(field): type(value) for item in items for field, value in stored(item.metadata).items()}
        for field in sorted(fields.keys() - known)[: _MAX_INDEXES - len(known)]:
            shard.update(qdrant.UpdateOperation.create_field_index(field, _INDEXES[fields[field]]))

    def _rename(self, source: Path, target: Path) -> None:
        source.rename(target)
        folder = os.open(self._folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _locked(path: Path) -> int:
    """The descriptor that holds the lock, until it is closed or the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise BackendUnavailable("Another process has the vector store open; only one can.") from None
            time.sleep(0.05)
        else:
            return descriptor
