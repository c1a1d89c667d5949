"""JSON and form fields from outside to pydantic models, with our errors."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.errors import InvalidInput, MalformedInput
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
