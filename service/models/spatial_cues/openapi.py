"""What the OpenAPI document says about `/v1/spatial-cues`: its raw body, forms of the answer, every problem."""

from http import HTTPStatus
from typing import Any

from service.errors import InvalidInput, MalformedInput, Overloaded, PayloadTooLarge, UnsupportedMedia
from service.models.spatial_cues.encoders import NPZ, SAFETENSORS
from service.models.spatial_cues.schemas import SpatialCuesAnswer
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_AUDIO_IN = (
    *("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/webm", "audio/aiff"),
    *("audio/L16;rate=48000;channels=2", "audio/pcm;rate=48000;channels=2;encoding=f32le", "application/octet-stream"),
)

SPATIAL_CUES: dict[str, Any] = {
    "summary": "Binaural sound to spatial cues",
    "responses": {
        200: {
            "model": SpatialCuesAnswer,
            "description": "The cues of each frame, in the form that `Accept` asks for.",
            "content": {NPZ: _BINARY, SAFETENSORS: _BINARY},
        },
        **responses(
            *(MalformedInput, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge),
            *(UnsupportedMedia, InvalidInput, Overloaded),
        ),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "An audio file of two channels: left, right. Its own bytes decide what it is.",
            "content": dict.fromkeys(_AUDIO_IN, _BINARY),
        }
    },
}
