"""Bodies to what the store takes: vectors, metadata and filters, checked to the last number."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput
from service.models.collections.schemas import MAX_FIELDS, MAX_METADATA_BYTES, ItemRequest, WindowVector
from service.vectors.base import Collection, Item, Span
from service.vectors.filters import Filter, Value, check_field, check_value, is_text, parse

JSON = "application/json"
MAX_JSON_BYTES = 16 << 20
MAX_SMALL_BYTES = 1 << 20  # of JSON without vectors or recordings
MAX_JSON_MARKS = 1 << 19  # numbers, mostly: a thousand vectors of 384


def read_vector(given: list[float] | str, collection: Collection, pointer: str) -> NDArray[np.float32]:
    """float32 [D]. Raises InvalidInput for another number of numbers, for those that are not finite, and for nothing.

    A cosine with a vector of zeros is not defined.
    """
    vector = _from_base64(given, pointer) if isinstance(given, str) else _from_list(given)
    if len(vector) != collection.dims:
        raise _refused(f"has {len(vector)} numbers; those of this collection have {collection.dims}", pointer)
    if not np.isfinite(vector).all():
        raise _refused("has numbers that are not finite", pointer)
    if collection.distance == "cosine" and not vector.any():
        raise _refused("is zero, which is near to nothing by cosine", pointer)
    return vector


def read_item(item: ItemRequest, collection: Collection, pointer: str) -> Item:
    """An item that brought its vectors."""
    metadata = read_metadata(item.metadata, f"{pointer}/metadata")
    if item.vector is not None:
        return Item(item.id, read_vector(item.vector, collection, f"{pointer}/vector")[None], [None], metadata)
    windows = item.windows or []
    vectors = [read_vector(w.vector, collection, f"{pointer}/windows/{n}/vector") for n, w in enumerate(windows)]
    return Item(item.id, np.stack(vectors), [_span(window) for window in windows], metadata)


def read_metadata(given: Mapping[str, Any], pointer: str) -> dict[str, Value]:
    """Raises InvalidInput, naming the field."""
    if len(given) > MAX_FIELDS:
        raise _refused(f"has {len(given)} fields; accepted are up to {MAX_FIELDS}", pointer)
    metadata = {check_field(k, f"{pointer}/{k[:80]}"): check_value(v, f"{pointer}/{k[:80]}") for k, v in given.items()}
    if len(json.dumps(metadata).encode()) > MAX_METADATA_BYTES:
        raise _refused(f"has more than {MAX_METADATA_BYTES} bytes as JSON", pointer)
    return metadata


def read_filter(given: Mapping[str, Any] | None) -> Filter | None:
    """Raises InvalidInput, naming the operator."""
    return None if given is None else parse(given)


def from_query(given: str, parameter: str) -> dict[str, Any]:
    """A JSON object in the query. Raises MalformedInput and InvalidInput."""
    try:
        value = json.loads(given)
    except (ValueError, RecursionError) as exc:
        raise MalformedInput(f"/query/{parameter} is no JSON") from exc
    if not isinstance(value, dict):
        raise _refused("is a JSON object", f"/query/{parameter}")
    return value


def check_id(id: str, pointer: str) -> str:  # noqa: A002
    """Raises InvalidInput for what no engine holds as text."""
    if not is_text(id):
        raise _refused("is no text in UTF-8, or has a NUL in it", pointer)
    return id


def _from_list(given: list[float]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which is refused
        return np.array(given, np.float64).astype(np.float32)


def _from_base64(given: str, pointer: str) -> NDArray[np.float32]:
    try:
        data = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise _refused("is no base64", pointer) from exc
    if len(data) % 4:
        raise _refused(f"has {len(data)} bytes, which are no 32-bit floats", pointer)
    return np.frombuffer(data, "<f4").astype(np.float32)


def _span(window: WindowVector) -> Span | None:
    if window.start_s is not None and window.end_s is not None:
        return Span(window.start_s, window.end_s, "seconds")
    if window.char_start is not None and window.char_end is not None:
        return Span(window.char_start, window.char_end, "characters")
    return None


def _refused(detail: str, pointer: str) -> InvalidInput:
    return InvalidInput(f"{pointer} {detail}", errors=[{"pointer": pointer, "detail": detail}])
