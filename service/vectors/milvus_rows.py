"""Items as the rows of a Milvus collection, one of each window, and filters as its boolean expressions."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.vectors.base import Item, Match, Span
from service.vectors.filters import And, Equals, Filter, Not, Or, Value, Within
from service.vectors.grouping import Window

_NAMESPACE = uuid.UUID("9a2c0c52-1f0f-4b0c-8d70-6a3b6d2f7f11")

OUTPUT = ["item", "number", "windows", "start", "end", "unit", "metadata"]  # all but the vector
FIRST = "number == 0"  # every item has a first window, so these count items


def row_id(id: str, number: int) -> str:  # noqa: A002
    """The same for the same window of the same item, for ever: writing again replaces."""
    return str(uuid.uuid5(_NAMESPACE, f"{number}/{id}"))


def rows(item: Item) -> Iterator[dict[str, Any]]:
    for number, (vector, span) in enumerate(zip(item.vectors, item.spans, strict=True)):
        yield {
            "pk": row_id(item.id, number),
            "vector": vector,
            "item": item.id,
            "number": number,
            "windows": len(item.vectors),
            "start": span.start if span else 0.0,
            "end": span.end if span else 0.0,
            "unit": span.unit if span else "",
            "metadata": dict(item.metadata),
        }


def window(row: Mapping[str, Any], score: float) -> Window:
    """The inverse, of what a search found."""
    span = Span(row["start"], row["end"], row["unit"]) if row["unit"] else None
    return Window(row["item"], row["metadata"], Match(row["number"], score, span))


def none_of(ids: Sequence[str]) -> str:
    return f"item not in {_literal(list(ids))}" if ids else ""


def every(*expressions: str) -> str:
    return " and ".join(f"({expression})" for expression in expressions if expression)


def of_metadata(condition: Filter) -> str:
    match condition:
        case Equals(field, value):
            return f"{_field(field)} == {_literal(value)}"
        case Within(field, gt, gte, lt, lte):
            bounds = ((">", gt), (">=", gte), ("<", lt), ("<=", lte))
            return every(*(f"{_field(field)} {sign} {bound!r}" for sign, bound in bounds if bound is not None))
        case Not(part):
            return f"not ({of_metadata(part)})"
        case And(parts):
            return " and ".join(f"({of_metadata(part)})" for part in parts)
        case Or(parts):
            return " or ".join(f"({of_metadata(part)})" for part in parts)


def _field(name: str) -> str:
    return f"metadata[{_literal(name)}]"


def _literal(value: Value | list[str]) -> str:
    """As in JSON, but for pairs of surrogates, which the grammar does not know: characters stand for themselves."""
    return json.dumps(value, ensure_ascii=False)
