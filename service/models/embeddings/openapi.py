"""What the OpenAPI document says about the embedding routes: bodies, answers, every problem."""

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
from service.models.embeddings.answers import JSON
from service.models.embeddings.schemas import EmbeddingsAnswer, EmbeddingsRequest
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_AUDIO_IN = (
    *("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/webm", "audio/aiff"),
    *("audio/L16;rate=16000;channels=1", "audio/pcm;rate=16000;channels=1;encoding=f32le", "application/octet-stream"),
)
_RESPONSES = {
    200: {"model": EmbeddingsAnswer, "description": "The vectors, in the order of the items."},
    **responses(
        *(MalformedInput, ModelNotFound, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge, UnsupportedMedia, InvalidInput),
        *(InferenceFailed, Overloaded, BackendUnavailable, DeadlineExceeded),
    ),
}
_WAV = "UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YRAAAAAAAAAQACAAEAAAAPAA4ADw"  # eight samples at 8 kHz

EMBEDDINGS: dict[str, Any] = {
    "summary": "Text and sound to vectors, as OpenAI's clients ask for them",
    "responses": _RESPONSES,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": EmbeddingsRequest.model_json_schema(),
                    "examples": {
                        "text": {"summary": "A text", "value": {"model": "embeddings", "input": "a dog barks"}},
                        "texts": {
                            "summary": "Texts, in the form that OpenAI's clients ask for",
                            "value": {
                                "model": "embeddings",
                                "input": ["a dog barks", "rain on a roof"],
                                "encoding_format": "base64",
                            },
                        },
                        "sound": {
                            "summary": "A text and a recording, with their windows",
                            "value": {
                                "model": "embeddings",
                                "input": ["a dog barks", f"data:audio/wav;base64,{_WAV}"],
                                "window": True,
                            },
                        },
                        "parts": {
                            "summary": "The same as OpenAI's content parts",
                            "value": {
                                "model": "embeddings",
                                "input": [
                                    {"type": "text", "text": "a dog barks"},
                                    {"type": "input_audio", "input_audio": {"data": _WAV, "format": "wav"}},
                                ],
                            },
                        },
                    },
                }
            },
        }
    },
}

AUDIO_EMBEDDINGS: dict[str, Any] = {
    "summary": "A recording to vectors",
    "responses": _RESPONSES,
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "An audio file. Its own bytes decide what it is.",
            "content": dict.fromkeys(_AUDIO_IN, _BINARY),
        }
    },
}
