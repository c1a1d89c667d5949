"""JSON from outside to pydantic models, with our errors."""

from typing import TypeVar

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
        found = faults(errors[:_MAX_FAULTS])
        detail = "; ".join(f"{fault['pointer'] or 'the JSON'}: {fault['detail']}" for fault in found[:3])
        raise InvalidInput(detail, errors=found) from exc
