"""What the OpenAPI document says about `/v1/reverberation`: forms of the body, working examples, every problem."""

from http import HTTPStatus
from typing import Any

from service.errors import InvalidInput, MalformedInput, Overloaded, PayloadTooLarge, UnsupportedMedia
from service.models.reverberation.bodies import JSON, NPZ, SAFETENSORS
from service.models.reverberation.schemas import EXAMPLES, ReverberationRequest
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

REVERBERATION: dict[str, Any] = {
    "summary": "Absorption and areas to reverberation times",
    "responses": responses(
        *(MalformedInput, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge, UnsupportedMedia, InvalidInput, Overloaded)
    ),
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "A room as JSON, or maps of its absorption.",
            "content": {
                JSON: {"schema": ReverberationRequest.model_json_schema(), "examples": EXAMPLES},
                NPZ: _BINARY,
                SAFETENSORS: _BINARY,
                "application/octet-stream": _BINARY,
            },
        }
    },
}
