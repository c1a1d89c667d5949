"""What the OpenAPI document says about the tokenizer's routes: raw bodies, forms of the answer, every problem."""

from http import HTTPStatus
from typing import Any

from fastapi.responses import Response

from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    MalformedInput,
    ModelMismatch,
    ModelNotFound,
    Overloaded,
    PayloadTooLarge,
    UnsupportedMedia,
)
from service.models.tokenizer import container
from service.models.tokenizer.encoders import JSON, NPZ, SAFETENSORS
from service.models.tokenizer.schemas import (
    DetokenizeRequest,
    StreamEnd,
    StreamProblem,
    StreamStart,
    StreamStarted,
    StreamTokens,
    TokenizeAnswer,
)
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}

_AUDIO_IN = (
    *("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/webm", "audio/aiff"),
    *("audio/L16;rate=16000;channels=1", "audio/pcm;rate=16000;channels=1;encoding=f32le", "application/octet-stream"),
)
_PROBLEMS = (
    *(MalformedInput, ModelNotFound, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge),
    *(UnsupportedMedia, InvalidInput, InferenceFailed, Overloaded, BackendUnavailable, DeadlineExceeded),
)

TOKENIZE: dict[str, Any] = {
    "summary": "Sound to tokens",
    "responses": {
        200: {
            "model": TokenizeAnswer,
            "description": "The tokens, in the form that `Accept` asks for.",
            "content": {container.MEDIA_TYPE: _BINARY, NPZ: _BINARY, SAFETENSORS: _BINARY},
        },
        **responses(*_PROBLEMS),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "An audio file. Its own bytes decide what it is.",
            "content": dict.fromkeys(_AUDIO_IN, _BINARY),
        }
    },
}

DETOKENIZE: dict[str, Any] = {
    "summary": "Tokens to sound",
    "responses": {
        200: {
            "description": "The sound, or its mel, in the form that `Accept` asks for.",
            "content": dict.fromkeys(("audio/wav", "audio/flac", "audio/ogg", NPZ), _BINARY),
        },
        **responses(ModelMismatch, *_PROBLEMS),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "description": "Tokens in any form that `/v1/tokenize` answers.",
            "content": {
                JSON: {
                    "schema": DetokenizeRequest.model_json_schema(),
                    "examples": {
                        "tokens": {
                            "summary": "80 ms of tokens",
                            "value": {"tokens": [[131071, 4096, 77, 262143]]},
                        },
                        "ids": {
                            "summary": "The same from a language model's vocabulary, two ids per token",
                            "value": {
                                "tokens": [[32255, 33023, 32008, 32512, 32000, 32589, 32511, 33023]],
                                "codebooks": 2,
                                "vocab_offset": 32000,
                                "num_samples": 1280,
                            },
                        },
                    },
                },
                container.MEDIA_TYPE: _BINARY,
                NPZ: _BINARY,
                SAFETENSORS: _BINARY,
                "application/octet-stream": _BINARY,
            },
        }
    },
}

_MESSAGES = {
    model.__name__: {"schema": model.model_json_schema(ref_template="#/components/schemas/{model}")}
    for model in (StreamStart, StreamEnd, StreamStarted, StreamTokens, StreamProblem)
}

STREAM: dict[str, Any] = {
    "summary": "Live sound to tokens (WebSocket)",
    "status_code": HTTPStatus.UPGRADE_REQUIRED,
    "response_class": Response,  # without one, the document would promise JSON beside the problem
    "responses": {
        101: {"description": "The protocol is now WebSocket."},
        **responses(HTTPStatus.UPGRADE_REQUIRED, ModelNotFound, BackendUnavailable),
    },
    "openapi_extra": {"x-websocket-messages": _MESSAGES},
}
