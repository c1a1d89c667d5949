"""What every vector engine offers, and what it stores. Engines block: `service.vectors.store` keeps them off the loop.

An item is one recording, text or whatever else a client calls by an id; its windows are what has vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.errors import CollectionNotFound
from service.vectors.filters import Filter, Value

Distance = Literal["cosine", "dot", "euclid"]
Unit = Literal["seconds", "characters"]

NAME = r"^[a-z][a-z0-9_]{0,63}$"  # of a collection; what the engines have in common
MAX_COLLECTIONS = 100  # each is open, once it is used
MAX_DIMS = 4096
MAX_RESULTS = 100
MAX_WINDOWS = 4096  # of one item


@dataclass(frozen=True)
class Collection:
    """Vectors of `space_id` are the only ones that it takes. Two collections of equal fields are the same."""

    name: str
    dims: int
    distance: Distance
    space_id: str


@dataclass(frozen=True)
class Span:
    """Which part of the item a window is: [start, end) in `unit`."""

    start: float
    end: float
    unit: Unit


@dataclass(frozen=True, eq=False)
class Item:
    """vectors float32 [n, D], one of each window; `spans` has as many entries, or None where there is no such thing."""

    id: str
    vectors: NDArray[np.float32]
    spans: Sequence[Span | None]
    metadata: Mapping[str, Value]


@dataclass(frozen=True)
class StoredItem:
    """An item without its vectors."""

    id: str
    metadata: Mapping[str, Value]
    windows: int


@dataclass(frozen=True)
class Match:
    """A window that is near to what was searched. `window` counts from 0."""

    window: int
    score: float
    span: Span | None


@dataclass(frozen=True)
class Hit:
    """An item that was found, by the nearest of its windows. `matches`: best first, at least one."""

    id: str
    metadata: Mapping[str, Value]
    score: float
    matches: Sequence[Match]


@dataclass(frozen=True)
class Stats:
    items: int
    windows: int
    pending: int = 0  # windows that are stored, and not yet found as surely as those that are indexed


class Engine(Protocol):
    """Collections by name, which callers have checked, as they have ids, sizes and numbers.

    What was written is on disk when the call returns. A crash in the middle of a call leaves each of its items as it
    was, or as it was to be, or with windows of both; the same call again puts that right.
    Every method raises BackendUnavailable, and CollectionNotFound where there is no collection of that name.
    """

    def collections(self) -> list[Collection]:
        """In order of their names."""

    def collection(self, name: str) -> Collection: ...

    def create(self, collection: Collection) -> Collection:
        """What there is under that name afterwards, for the caller to compare.

        Raises InvalidInput for too many, and StorageFull.
        """

    def drop(self, name: str) -> None: ...

    def stats(self, name: str) -> Stats: ...

    def upsert(self, name: str, items: Sequence[Item]) -> None:
        """Replaces items of the same ids, with all their windows and metadata. Raises StorageFull."""

    def get(self, name: str, id: str) -> StoredItem | None: ...  # noqa: A002

    def delete(self, name: str, ids: Sequence[str]) -> int:
        """How many there were. Ids of no item are passed over."""

    def delete_where(self, name: str, condition: Filter) -> int: ...

    def search(
        self, name: str, vector: NDArray[np.float32], k: int, condition: Filter | None, matches: int
    ) -> list[Hit]:
        """The `k` items whose nearest windows are nearest to `vector` [D], nearest first, with up to `matches` windows.

        A score is the cosine, the dot product, or minus the Euclidean distance: the higher, the nearer.
        """

    def close(self) -> None: ...


def missing(name: str) -> CollectionNotFound:
    return CollectionNotFound(f"There is no collection {name!r}.")
