"""The distributed engine: a Milvus server, standalone or a cluster, reached through pymilvus. Several threads may call.

Collections are this service's own by the prefix of their names, so that a server may be shared. What each is lies in
its description on the server: several gateways see the same ones. Searches are approximate (HNSW), and of the last few
thousand windows of a bulk load much more so until the server has indexed them: `Stats.pending` counts these.
"""

import json
import logging
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from service.errors import BackendUnavailable, InvalidInput
from service.vectors.base import MAX_COLLECTIONS, Collection, Hit, Item, Stats, StoredItem, missing
from service.vectors.filters import Filter
from service.vectors.grouping import Window, nearest_items
from service.vectors.milvus_rows import FIRST, OUTPUT, every, none_of, of_metadata, row_id, rows, window

logger = logging.getLogger(__name__)
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # a failure arrives as an exception, which is logged once

_PREFIX = "auricle_"
_METRICS = {"cosine": "COSINE", "dot": "IP", "euclid": "L2"}
_MAX_ID_BYTES = 2048
_HNSW = {"M": 16, "efConstruction": 200}
_MIN_EF = 128
_CONNECT_S = 5.0
_PER_CALL = 512  # rows; a message to the server is at most 64 MB


class Milvus:
    """Implements `Engine`. Connects when it is first asked, and again after a failure."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._connecting = threading.Lock()
        self._connected: MilvusClient | None = None

    def collections(self) -> list[Collection]:
        with _translated():
            names = self._client().list_collections(timeout=self._timeout_s)
        ours = sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX))
        return [self.collection(name) for name in ours]

    def collection(self, name: str) -> Collection:
        with _translated():
            client = self._client()
            if not client.has_collection(_PREFIX + name, timeout=self._timeout_s):
                raise missing(name)
            described = client.describe_collection(_PREFIX + name, timeout=self._timeout_s)
        return Collection(**json.loads(described["description"]))

    def create(self, collection: Collection) -> Collection:
        with _translated():
            client = self._client()
            if client.has_collection(_PREFIX + collection.name, timeout=self._timeout_s):
                return self.collection(collection.name)
            if len(self.collections()) >= MAX_COLLECTIONS:
                raise InvalidInput(f"there are {MAX_COLLECTIONS} collections, which are all that this store takes")
            index = client.prepare_index_params()
            index.add_index("vector", index_type="HNSW", metric_type=_METRICS[collection.distance], params=_HNSW)
            client.create_collection(
                _PREFIX + collection.name,
                schema=_schema(client, collection),
                index_params=index,
                consistency_level="Session",  # this gateway sees what it wrote at once; others do within a second or so
                timeout=self._timeout_s,
            )
        return collection

    def drop(self, name: str) -> None:
        self.collection(name)
        with _translated():
            self._client().drop_collection(_PREFIX + name, timeout=self._timeout_s)

    def stats(self, name: str) -> Stats:
        self.collection(name)
        with _translated():
            index = self._client().describe_index(_PREFIX + name, "vector", timeout=self._timeout_s)
        pending = int(index.get("pending_index_rows", 0))
        return Stats(self._count(name, FIRST), self._count(name, ""), pending)

    def upsert(self, name: str, items: Sequence[Item]) -> None:
        self.collection(name)
        before = self._windows(name, [item.id for item in items])
        new = [row for item in items for row in rows(item)]
        with _translated():
            for start in range(0, len(new), _PER_CALL):
                self._client().upsert(_PREFIX + name, new[start : start + _PER_CALL], timeout=self._timeout_s)
        after = {item.id: len(item.vectors) for item in items}
        self._remove(name, [row_id(id, n) for id, windows in before.items() for n in range(after[id], windows)])  # noqa: A001

    def get(self, name: str, id: str) -> StoredItem | None:  # noqa: A002
        self.collection(name)
        with _translated():
            found = self._client().get(
                _PREFIX + name, [row_id(id, 0)], output_fields=["windows", "metadata"], timeout=self._timeout_s
            )
        return StoredItem(id, found[0]["metadata"], found[0]["windows"]) if found else None

    def delete(self, name: str, ids: Sequence[str]) -> int:
        self.collection(name)
        return self._forget(name, self._windows(name, ids))

    def delete_where(self, name: str, condition: Filter) -> int:
        self.collection(name)
        deleted = 0
        while found := self._first(name, of_metadata(condition)):
            deleted += self._forget(name, found)
        return deleted

    def search(
        self, name: str, vector: NDArray[np.float32], k: int, condition: Filter | None, matches: int
    ) -> list[Hit]:
        distance = self.collection(name).distance
        wanted = "" if condition is None else of_metadata(condition)

        def nearest_windows(limit: int, without: Sequence[str]) -> list[Window]:
            with _translated():
                found = self._client().search(
                    _PREFIX + name,
                    [vector],
                    filter=every(wanted, none_of(without)),
                    limit=limit,
                    output_fields=OUTPUT,
                    search_params={"params": {"ef": max(_MIN_EF, 2 * limit)}},
                    timeout=self._timeout_s,
                )[0]
            return [window(hit["entity"], _score(hit["distance"], distance)) for hit in found]

        return nearest_items(nearest_windows, k, matches)

    def close(self) -> None:
        if self._connected is not None:
            self._connected.close()

    def _client(self) -> MilvusClient:
        with self._connecting:
            if self._connected is None:
                self._connected = MilvusClient(self._url, timeout=min(_CONNECT_S, self._timeout_s))
            return self._connected

    def _count(self, name: str, expression: str) -> int:
        with _translated():
            counted = self._client().query(
                _PREFIX + name, filter=expression, output_fields=["count(*)"], timeout=self._timeout_s
            )
        return int(counted[0]["count(*)"])

    def _windows(self, name: str, ids: Sequence[str]) -> dict[str, int]:
        """How many windows the items have that are stored now, by their ids."""
        found: dict[str, int] = {}
        with _translated():
            for start in range(0, len(ids), _PER_CALL):
                keys = [row_id(id, 0) for id in ids[start : start + _PER_CALL]]  # noqa: A001
                stored = self._client().get(
                    _PREFIX + name, keys, output_fields=["item", "windows"], timeout=self._timeout_s
                )
                found |= {row["item"]: row["windows"] for row in stored}
        return found

    def _first(self, name: str, expression: str) -> dict[str, int]:
        """Some items of which the expression holds, and how many windows they have."""
        with _translated():
            stored = self._client().query(
                _PREFIX + name,
                filter=every(expression, FIRST),
                output_fields=["item", "windows"],
                limit=_PER_CALL,
                timeout=self._timeout_s,
            )
        return {row["item"]: row["windows"] for row in stored}

    def _forget(self, name: str, windows: Mapping[str, int]) -> int:
        self._remove(name, [row_id(id, number) for id, count in windows.items() for number in range(count)])  # noqa: A001
        return len(windows)

    def _remove(self, name: str, keys: Sequence[str]) -> None:
        if not keys:
            return
        with _translated():
            for start in range(0, len(keys), _PER_CALL):
                self._client().delete(_PREFIX + name, ids=keys[start : start + _PER_CALL], timeout=self._timeout_s)
            # a session's own writes are seen at once, its deletions only behind a read that waits for them
            self._client().query(
                _PREFIX + name, filter=FIRST, limit=1, consistency_level="Strong", timeout=self._timeout_s
            )


def _schema(client: MilvusClient, collection: Collection) -> Any:
    schema = client.create_schema(enable_dynamic_field=False, description=json.dumps(asdict(collection)))
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=36)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=collection.dims)
    schema.add_field("item", DataType.VARCHAR, max_length=_MAX_ID_BYTES)
    schema.add_field("number", DataType.INT64)
    schema.add_field("windows", DataType.INT64)
    schema.add_field("start", DataType.DOUBLE)
    schema.add_field("end", DataType.DOUBLE)
    schema.add_field("unit", DataType.VARCHAR, max_length=16)
    schema.add_field("metadata", DataType.JSON)
    return schema


def _score(distance: float, kind: str) -> float:
    """Milvus says the square of a Euclidean distance."""
    return -math.sqrt(max(distance, 0.0)) if kind == "euclid" else distance


@contextmanager
def _translated() -> Iterator[None]:
    """What is sent was checked before: an error is the server's own trouble, or that of the way to it."""
    try:
        yield
    except MilvusException as exc:
        logger.warning("Milvus: %s", exc)
        raise BackendUnavailable("The vector engine cannot do this at the moment.") from exc
