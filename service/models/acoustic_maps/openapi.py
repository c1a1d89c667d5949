"""What the OpenAPI document says about the route: the form, the forms of the answer, every problem."""

from http import HTTPStatus
from typing import Any

from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    MalformedInput,
    ModelNotFound,
    Overloaded,
    PayloadTooLarge,
    UnsupportedMedia,
)
from service.media.image import FORMATS as IMAGE_FORMATS
from service.models.acoustic_maps.answers import FORMATS, JSON, MEDIA_TYPES
from service.models.acoustic_maps.fields import SceneFields
from service.models.acoustic_maps.schemas import Summary
from service.models.acoustic_maps.survey import AUDIO, IMAGES
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_FILE: dict[str, Any] = {"type": "string", "format": "binary"}


def _names(media_type: str) -> str:
    return ", ".join(f"`{name}` ({form.summary})" for name, form in FORMATS.items() if form.media_type == media_type)


def _fields() -> dict[str, Any]:
    """The form: files beside the fields, which are text."""
    fields = SceneFields.model_json_schema()["properties"]
    for field in fields.values():
        field.pop("default", None)
    return {
        IMAGES: {
            "type": "array",
            "items": _FILE,
            "minItems": 1,
            "description": "Pictures of one room: JPEG, PNG or WebP. The first one's camera is the origin.",
        },
        AUDIO: _FILE
        | {"description": "A recording made with them, mono or binaural (left, right), in any format of /v1/tokenize."},
        **fields,
    }


_FORM: dict[str, Any] = {"type": "object", "required": [IMAGES], "properties": _fields()}

ACOUSTIC_MAPS: dict[str, Any] = {
    "summary": "Pictures of a room to its acoustics",
    "responses": {
        200: {
            "model": Summary,
            "description": "By media type, the first being what `Accept` alone means: "
            + "; ".join(f"{media_type}: {_names(media_type)}" for media_type in MEDIA_TYPES),
            "content": {media_type: _BINARY for media_type in MEDIA_TYPES if media_type != JSON},
        },
        **responses(
            *(MalformedInput, ModelNotFound, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge),
            *(UnsupportedMedia, InvalidInput, InferenceFailed, Overloaded, BackendUnavailable, DeadlineExceeded),
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": _FORM,
                    "encoding": {IMAGES: {"contentType": ", ".join(IMAGE_FORMATS)}, AUDIO: {"contentType": "audio/*"}},
                }
            },
        }
    },
}
