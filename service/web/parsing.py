"""JSON and form fields from outside to pydantic models, with our errors."""

from collections.abc import Mapping
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, ValidationError

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge
from service.web.problems import faults

M = TypeVar("M", bound=BaseModel)

_MAX_FAULTS = 20


def parse(model: type[M], data: bytes | str) -> M:
    """Raises MalformedInput for what is no JSON, InvalidInput for JSON of another shape."""
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        if errors[0]["type"] == "json_invalid":
            raise MalformedInput(f"The JSON is damaged: {errors[0]['msg']}.") from exc
        raise _invalid(exc) from exc


def read_json(model: type[M], file: BinaryIO, max_bytes: int, max_marks: int) -> M:
    """Raises PayloadTooLarge beyond so many bytes, or commas and brackets; and what `parse` does.

    A value of JSON takes up to a hundred times its text in memory, and reading it holds the interpreter's lock.
    """
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise PayloadTooLarge(f"JSON is read up to {max_bytes} bytes here")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > max_marks:
        raise PayloadTooLarge(f"the JSON has more than {max_marks} commas and brackets; send less at a time")
    return parse(model, data)


def check(model: type[M], values: Mapping[str, Any], root: str) -> M:
    """Raises InvalidInput; `root` is where the values were, the beginning of the pointer to a fault."""
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise _invalid(exc, root) from exc


def _invalid(exc: ValidationError, root: str = "") -> InvalidInput:
    found = faults(exc.errors(include_url=False, include_input=False)[:_MAX_FAULTS], root)
    detail = "; ".join(f"{fault['pointer'] or 'the JSON'}: {fault['detail']}" for fault in found[:3])
    return InvalidInput(detail, errors=found)
