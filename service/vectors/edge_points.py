"""Items as the points of Qdrant Edge, one of each window, and filters as its conditions."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import qdrant_edge as qdrant

from service.vectors.base import Item, Match, Span
from service.vectors.filters import And, Equals, Filter, Not, Or, Value, Within
from service.vectors.grouping import Window

# The library takes true for 1 in a condition; so true is stored as a text, and one that no client can send.
_TRUTHS: Mapping[bool, str] = {True: "\0true", False: "\0false"}
_NAMESPACE = uuid.UUID("9a2c0c52-1f0f-4b0c-8d70-6a3b6d2f7f11")

# every item has a first window, so these count items
FIRST = qdrant.Filter(must=[qdrant.FieldCondition("window", match=qdrant.MatchValue(0))])


def point_id(id: str, number: int) -> str:  # noqa: A002
    """The same for the same window of the same item, for ever: writing again replaces."""
    return str(uuid.uuid5(_NAMESPACE, f"{number}/{id}"))


def points(item: Item) -> Iterator[qdrant.Point]:
    shared = {"id": item.id, "windows": len(item.vectors), "metadata": stored(item.metadata)}
    for number, (vector, span) in enumerate(zip(item.vectors, item.spans, strict=True)):
        payload = shared | {"window": number}
        if span is not None:
            payload |= {"start": span.start, "end": span.end, "unit": span.unit}
        yield qdrant.Point(point_id(item.id, number), vector.tolist(), payload)


def window(payload: Mapping[str, Any], score: float) -> Window:
    """The inverse, of what a search found."""
    span = Span(payload["start"], payload["end"], payload["unit"]) if "unit" in payload else None
    return Window(payload["id"], loaded(payload["metadata"]), Match(payload["window"], score, span))


def stored(metadata: Mapping[str, Value]) -> dict[str, Value]:
    return {field: _TRUTHS[value] if isinstance(value, bool) else value for field, value in metadata.items()}


def loaded(metadata: Mapping[str, Value]) -> dict[str, Value]:
    """The inverse of `stored`."""
    truths = {text: truth for truth, text in _TRUTHS.items()}
    return {field: truths.get(value, value) if isinstance(value, str) else value for field, value in metadata.items()}


def any_of(ids: Sequence[str]) -> qdrant.Filter:
    """Every window of these items."""
    return qdrant.Filter(must=[qdrant.FieldCondition("id", match=qdrant.MatchAny(list(ids)))])


def beyond(items: Sequence[Item]) -> qdrant.Filter:
    """The windows that stored items have more than these of the same ids."""
    return qdrant.Filter(
        should=[
            qdrant.Filter(
                must=[
                    qdrant.FieldCondition("id", match=qdrant.MatchValue(item.id)),
                    qdrant.FieldCondition("window", range=qdrant.RangeFloat(gte=len(item.vectors))),
                ]
            )
            for item in items
        ]
    )


def key(field: str) -> str:
    """Where a field of metadata is stored."""
    return f"metadata.{field}"


def of_metadata(condition: Filter) -> qdrant.Filter:
    match condition:
        case Equals(field, value):
            text = _TRUTHS[value] if isinstance(value, bool) else value
            return qdrant.Filter(must=[qdrant.FieldCondition(key(field), match=qdrant.MatchValue(text))])
        case Within(field, gt, gte, lt, lte):
            bounds = qdrant.RangeFloat(gt=gt, gte=gte, lt=lt, lte=lte)
            return qdrant.Filter(must=[qdrant.FieldCondition(key(field), range=bounds)])
        case Not(part):
            return qdrant.Filter(must_not=[of_metadata(part)])
        case And(parts):
            return qdrant.Filter(must=[of_metadata(part) for part in parts])
        case Or(parts):
            return qdrant.Filter(should=[of_metadata(part) for part in parts])
