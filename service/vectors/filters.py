"""The language of metadata filters: operators that vector databases share, parsed once, for all engines.

    {"speaker": "anna", "year": {"$gte": 2020, "$lt": 2025}, "$or": [{"lang": "en"}, {"lang": {"$in": ["de", "fr"]}}]}

Everything side by side must hold. A field that an item lacks equals nothing: `$ne` and `$nin` hold of it, the others do
not. Numbers compare as numbers, 3 and 3.0 are equal; true is no number.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from service.errors import InvalidInput

Value: TypeAlias = str | int | float | bool

MAX_CONDITIONS = 64
MAX_DEPTH = 8
MAX_CHOICES = 256  # of $in and $nin, all of a filter together
MAX_TEXT = 1024  # characters of a value
MAX_NUMBER = 2**53  # integers beyond it are not all told apart as floats


@dataclass(frozen=True)
class Equals:
    field: str
    value: str | bool  # a number is Within


@dataclass(frozen=True)
class Within:
    """Numbers only; a bound that is None does not bind."""

    field: str
    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None


@dataclass(frozen=True)
class Not:
    part: "Filter"


@dataclass(frozen=True)
class And:
    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Or:
    parts: tuple["Filter", ...]


Filter: TypeAlias = Equals | Within | Not | And | Or


def parse(query: Mapping[str, Any]) -> Filter:
    """Raises InvalidInput with the place and what is accepted there."""
    return _Parser().both(query, "/filter", 0)


class _Parser:
    """Counts what one filter has in it."""

    def __init__(self) -> None:
        self._conditions, self._choices = 0, 0

    def both(self, query: Any, where: str, depth: int) -> Filter:
        """All that stands side by side in an object."""
        if not isinstance(query, Mapping) or not query:
            raise _fault(where, "is an object of conditions, and not empty")
        if depth > MAX_DEPTH:
            raise _fault(where, f"is nested more than {MAX_DEPTH} deep")
        parts: list[Filter] = []
        for key, value in query.items():
            place = f"{where}/{key[:80]}"
            if key in _GROUPS:
                parts.append(_GROUPS[key](self._group(value, place, depth)))
            elif key.startswith("$"):
                raise _fault(place, f"is no operator here; there are {', '.join(_GROUPS)}")
            else:
                parts += self._field(check_field(key, place), value, place)
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _group(self, value: Any, where: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(value, list) or not value:
            raise _fault(where, "is a list of filters, and not empty")
        return tuple(self.both(part, f"{where}/{index}", depth + 1) for index, part in enumerate(value))

    def _field(self, field: str, value: Any, where: str) -> list[Filter]:
        operators = value if isinstance(value, Mapping) else {"$eq": value}
        if not operators:
            raise _fault(where, f"names no operator; there are {', '.join(_OPERATORS)}")
        return [self._operator(field, name, operand, where) for name, operand in operators.items()]

    def _operator(self, field: str, name: str, operand: Any, where: str) -> Filter:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _fault("/filter", f"has more than {MAX_CONDITIONS} conditions")
        if name not in _OPERATORS:
            raise _fault(f"{where}/{name[:80]}", f"is no operator; there are {', '.join(_OPERATORS)}")
        place = f"{where}/{name}"
        if name in ("$in", "$nin"):
            self._choices += len(operand) if isinstance(operand, list) else 0
            if self._choices > MAX_CHOICES:
                raise _fault(place, f"has more than {MAX_CHOICES} choices")
        return _OPERATORS[name](field, operand, place)


def check_field(name: str, where: str) -> str:
    """Raises InvalidInput for what is no name of a metadata field."""
    if not (name.isascii() and name.replace("-", "_").isidentifier() and name[0] != "-" and len(name) <= 64):
        raise _fault(where, "is no name of a field: a letter or _, then up to 63 letters, digits, _ or -")
    return name


def check_value(value: Any, where: str) -> Value:
    """Raises InvalidInput for what metadata cannot hold."""
    if isinstance(value, str) and len(value) <= MAX_TEXT and is_text(value):
        return value
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) <= MAX_NUMBER):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _fault(
        where,
        f"is no value of metadata: text of at most {MAX_TEXT} characters, a finite number (an integer within 2 ** 53), "
        f"true or false",
    )


def is_text(value: str) -> bool:
    """Whether every engine can hold it: no NUL, and no half of a surrogate pair, which is no UTF-8."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _equal(field: str, operand: Any, where: str) -> Filter:
    value = check_value(operand, where)
    if isinstance(value, str | bool):
        return Equals(field, value)
    return Within(field, gte=float(value), lte=float(value))


def _bound(side: str, field: str, operand: Any, where: str) -> Filter:
    value = check_value(operand, where)
    if isinstance(value, str | bool):
        raise _fault(where, "compares numbers only")
    return Within(field, **{side: float(value)})


def _choice(field: str, operand: Any, where: str) -> Filter:
    if not isinstance(operand, list) or not operand:
        raise _fault(where, "is a list of values, and not empty")
    return Or(tuple(_equal(field, value, f"{where}/{index}") for index, value in enumerate(operand)))


_OPERATORS: Mapping[str, Callable[[str, Any, str], Filter]] = {
    "$eq": _equal,
    "$ne": lambda field, operand, where: Not(_equal(field, operand, where)),
    "$in": _choice,
    "$nin": lambda field, operand, where: Not(_choice(field, operand, where)),
    "$gt": partial(_bound, "gt"),
    "$gte": partial(_bound, "gte"),
    "$lt": partial(_bound, "lt"),
    "$lte": partial(_bound, "lte"),
}
_GROUPS: Mapping[str, Callable[[tuple[Filter, ...]], Filter]] = {"$and": And, "$or": Or}
OPERATORS = (*_OPERATORS, *_GROUPS)


def _fault(where: str, detail: str) -> InvalidInput:
    return InvalidInput(f"{where} {detail}", errors=[{"pointer": where, "detail": detail}])
