"""What every vector engine does, on Qdrant Edge and on the real Milvus server: same items found, same scores."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import CollectionNotFound
from service.settings import Settings
from service.vectors.auto import create
from service.vectors.base import Collection, Distance, Engine, Hit, Item, Span, Stats
from service.vectors.filters import Value, parse
from tests.milvus.server import MilvusServer
from tests.vectors.conftest import Open

DIMS = 8
PLAIN = Collection("plain", DIMS, "cosine", "space-1")


def unit(seed: int) -> NDArray[np.float32]:
    vector = np.random.default_rng(seed).normal(size=DIMS)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def item(name: str, *vectors: NDArray[np.float32], **metadata: Value) -> Item:
    spans = [Span(3 * number, 3 * number + 6, "seconds") for number in range(len(vectors))]
    return Item(name, np.stack(vectors), spans, metadata)


def found(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def test_collections_are_made_listed_counted_and_dropped(engine: Engine) -> None:
    assert engine.collections() == []
    other = Collection("other", 4, "euclid", "space-2")
    assert engine.create(PLAIN) == PLAIN
    assert engine.create(other) == other
    assert engine.collections() == [other, PLAIN]
    changed = Collection("plain", DIMS, "dot", "space-1")
    assert engine.create(changed) == PLAIN  # which stays what it was
    engine.upsert("plain", [item("a", unit(1), unit(2)), item("b", unit(3))])
    assert engine.stats("plain").items == 2
    assert engine.stats("plain").windows == 3
    assert engine.stats("other") == Stats(0, 0)
    engine.drop("plain")
    assert engine.collections() == [other]
    engine.create(PLAIN)
    assert engine.stats("plain") == Stats(0, 0)


def test_what_is_no_collection_is_not_found(engine: Engine) -> None:
    for call in (
        lambda: engine.collection("plain"),
        lambda: engine.drop("plain"),
        lambda: engine.stats("plain"),
        lambda: engine.upsert("plain", [item("a", unit(1))]),
        lambda: engine.get("plain", "a"),
        lambda: engine.delete("plain", ["a"]),
        lambda: engine.delete_where("plain", parse({"a": 1})),
        lambda: engine.search("plain", unit(1), 1, None, 1),
    ):
        with pytest.raises(CollectionNotFound, match="There is no collection 'plain'"):
            call()


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclid"])
def test_the_nearest_items_and_their_scores_are_those_of_all_pairs(engine: Engine, distance: Distance) -> None:
    noise = np.random.default_rng(0)
    stored = noise.normal(size=(60, DIMS)).astype(np.float32)
    query = noise.normal(size=DIMS).astype(np.float32)
    engine.create(Collection("plain", DIMS, distance, "space-1"))
    engine.upsert("plain", [item(f"item {i // 3}", *stored[i : i + 3]) for i in range(0, 60, 3)])
    scores = {
        "cosine": stored @ query / np.linalg.norm(stored, axis=1) / np.linalg.norm(query),
        "dot": stored @ query,
        "euclid": -np.linalg.norm(stored - query, axis=1),
    }[distance].reshape(20, 3)
    best = np.argsort(-scores.max(axis=1))[:5]
    hits = engine.search("plain", query, 5, None, 3)
    assert found(hits) == [f"item {i}" for i in best]
    np.testing.assert_allclose([hit.score for hit in hits], scores.max(axis=1)[best], rtol=1e-4, atol=1e-5)
    for hit, i in zip(hits, best, strict=True):
        first = int(scores[i].argmax())
        assert hit.matches[0].window == first
        assert hit.matches[0].span == Span(3 * first, 3 * first + 6, "seconds")
        assert [match.score for match in hit.matches] == sorted((m.score for m in hit.matches), reverse=True)


def test_an_item_of_many_near_windows_hides_no_other(engine: Engine) -> None:
    engine.create(PLAIN)
    near = [unit(1) + 0.01 * unit(seed) for seed in range(100, 200)]
    engine.upsert("plain", [item("long", *near), *(item(f"short {seed}", unit(seed)) for seed in range(2, 9))])
    hits = engine.search("plain", unit(1), 4, None, 2)
    far = sorted(range(2, 9), key=lambda seed: -float(unit(1) @ unit(seed)))
    assert found(hits) == ["long", *(f"short {seed}" for seed in far[:3])]
    assert [len(hit.matches) for hit in hits] == [2, 1, 1, 1]
    assert len(engine.search("plain", unit(1), 100, None, 1)) == 8


def test_an_item_is_replaced_with_all_its_windows(engine: Engine) -> None:
    engine.create(PLAIN)
    engine.upsert("plain", [item("a", unit(1), unit(2), unit(3), speaker="anna"), item("b", unit(4))])
    engine.upsert("plain", [item("a", unit(5), take=2)])
    stored = engine.get("plain", "a")
    assert stored is not None
    assert (stored.windows, dict(stored.metadata)) == (1, {"take": 2})
    assert engine.stats("plain").windows == 2
    assert engine.search("plain", unit(2), 2, parse({"speaker": "anna"}), 1) == []
    assert engine.get("plain", "c") is None


def test_deleting_says_how_many_items_there_were(engine: Engine) -> None:
    engine.create(PLAIN)
    engine.upsert("plain", [item(f"i{seed}", unit(seed), unit(seed + 50), odd=bool(seed % 2)) for seed in range(6)])
    assert engine.delete("plain", ["i0", "i1", "nobody"]) == 2
    assert engine.delete_where("plain", parse({"odd": True})) == 2
    assert engine.delete_where("plain", parse({"odd": True})) == 0
    assert sorted(found(engine.search("plain", unit(0), 9, None, 1))) == ["i2", "i4"]
    assert engine.stats("plain").windows == 4


METADATA: dict[str, dict[str, Value]] = {
    "a": {"lang": "en", "year": 2020, "loud": True, "level": -3.5},
    "b": {"lang": "de", "year": 2021.0, "loud": False},
    "c": {"lang": "EN", "year": "2020"},
    "d": {"year": 3},
    "e": {"lang": 'q"uo\\te\n', "year": True, "x-1": "Ünï 🎧"},
    "f": {},
}
FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"lang": "en"}, "a"),
    ({"lang": {"$eq": "en"}}, "a"),
    ({"lang": {"$ne": "en"}}, "bcdef"),
    ({"lang": {"$in": ["en", "de", "fr"]}}, "ab"),
    ({"lang": {"$nin": ["en", "de"]}}, "cdef"),
    ({"year": 2020}, "a"),
    ({"year": 2020.0}, "a"),
    ({"year": 2021}, "b"),
    ({"year": "2020"}, "c"),
    ({"year": True}, "e"),
    ({"year": 1}, ""),
    ({"year": {"$gt": 2020}}, "b"),
    ({"year": {"$gte": 2020}}, "ab"),
    ({"year": {"$lt": 2020}}, "d"),
    ({"year": {"$lte": 2020, "$gt": 3}}, "a"),
    ({"year": {"$in": [3, "2020", True]}}, "cde"),
    ({"year": {"$ne": 2020}}, "bcdef"),
    ({"level": {"$lt": -3}}, "a"),
    ({"loud": True}, "a"),
    ({"loud": {"$ne": True}}, "bcdef"),
    ({"lang": 'q"uo\\te\n'}, "e"),
    ({"x-1": "Ünï 🎧"}, "e"),
    ({"nobody": 1}, ""),
    ({"$or": [{"lang": "en"}, {"year": 3}]}, "ad"),
    ({"$and": [{"lang": {"$ne": "en"}}, {"$or": [{"year": 3}, {"loud": False}]}]}, "bd"),
    ({"lang": "en", "year": 3}, ""),
    ({"lang": '" or "1" == "1'}, ""),
]


def test_filters_mean_the_same_everywhere(engine: Engine) -> None:
    engine.create(PLAIN)
    engine.upsert("plain", [item(name, unit(ord(name)), **fields) for name, fields in METADATA.items()])
    answers = {
        str(query): "".join(sorted(found(engine.search("plain", unit(0), 9, parse(query), 1)))) for query, _ in FILTERS
    }
    assert answers == {str(query): wanted for query, wanted in FILTERS}


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "dir/ünï 🎧.flac", "'; drop", "x" * 256, "%_*", " "])
def test_ids_are_any_text(engine: Engine, name: str) -> None:
    engine.create(PLAIN)
    engine.upsert("plain", [item(name, unit(1), unit(2)), item("other", unit(3))])
    assert found(engine.search("plain", unit(1), 2, None, 1)) == [name, "other"]
    assert engine.get("plain", name) is not None
    assert engine.delete("plain", [name]) == 1
    assert engine.stats("plain").items == 1


def test_an_item_without_spans_and_of_text(engine: Engine) -> None:
    engine.create(PLAIN)
    engine.upsert(
        "plain",
        [Item("bare", unit(1)[None], [None], {}), Item("text", unit(2)[None], [Span(0, 17, "characters")], {})],
    )
    spans = {hit.id: hit.matches[0].span for hit in engine.search("plain", unit(1), 2, None, 1)}
    assert spans == {"bare": None, "text": Span(0, 17, "characters")}


def test_what_was_written_is_there_when_the_store_is_opened_again(open_engine: Open) -> None:
    first = open_engine()
    first.create(PLAIN)
    first.upsert("plain", [item("a", unit(1), speaker="anna")])
    first.close()
    again = open_engine()
    assert again.collections() == [PLAIN]
    assert found(again.search("plain", unit(1), 1, parse({"speaker": "anna"}), 1)) == ["a"]
    again.drop("plain")
    again.close()


@pytest.mark.milvus
async def test_a_server_is_asked_by_its_address(milvus: MilvusServer) -> None:
    store = create(Settings(vector_url=milvus.url))
    await store.run(Engine.create, PLAIN)
    names = [f"i{number}" for number in range(8)]
    await asyncio.gather(*(store.run(Engine.upsert, "plain", [item(name, unit(int(name[1:])))]) for name in names))
    assert found(await store.run(Engine.search, "plain", unit(5), 1, None, 1)) == ["i5"]
    await store.run(Engine.drop, "plain")
    await store.close()
