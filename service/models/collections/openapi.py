"""What the OpenAPI document says about the routes of collections: bodies, working examples, every problem."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from service.errors import (
    BackendUnavailable,
    CollectionExists,
    CollectionNotFound,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ItemNotFound,
    MalformedInput,
    ModelNotFound,
    Overloaded,
    PayloadTooLarge,
    ServiceError,
    SpaceMismatch,
    StorageFull,
    UnsupportedMedia,
)
from service.models.collections.bodies import JSON
from service.models.collections.schemas import (
    EXAMPLES,
    CreateRequest,
    DeleteRequest,
    SearchRequest,
    UpsertRequest,
)
from service.web.problems import responses

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_AUDIO_IN = (
    *("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/webm", "audio/aiff"),
    *("audio/L16;rate=16000;channels=1", "audio/pcm;rate=16000;channels=1;encoding=f32le", "application/octet-stream"),
)
_STORE = (Overloaded, BackendUnavailable, DeadlineExceeded)
_BODY = (MalformedInput, HTTPStatus.REQUEST_TIMEOUT, PayloadTooLarge)
_EMBEDDED = (ModelNotFound, SpaceMismatch, UnsupportedMedia, InferenceFailed)


def _route(summary: str, *problems: type[ServiceError] | HTTPStatus) -> dict[str, Any]:
    return {"summary": summary, "responses": responses(*problems, *_STORE)}


def _json(model: type[BaseModel], examples: str) -> dict[str, Any]:
    return {JSON: {"schema": model.model_json_schema(), "examples": EXAMPLES[examples]}}


def _body(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"openapi_extra": {"requestBody": {"required": True, "description": description, "content": content}}}


_FILES = dict.fromkeys(_AUDIO_IN, _BINARY)

LIST = _route("All collections")
CREATE = _route("Make a collection", *_BODY, ModelNotFound, CollectionExists, InvalidInput, StorageFull) | _body(
    "What it will take.", _json(CreateRequest, "create")
)
STATS = _route("What a collection is and holds", CollectionNotFound, InvalidInput)
DROP = _route("Delete a collection", CollectionNotFound, InvalidInput)
UPSERT = _route("Write items", *_BODY, CollectionNotFound, *_EMBEDDED, InvalidInput, StorageFull) | _body(
    "Items.", _json(UpsertRequest, "upsert")
)
PUT_ITEM = _route(
    "Write one item from its file", *_BODY, CollectionNotFound, *_EMBEDDED, InvalidInput, StorageFull
) | _body("A recording or a text.", _FILES | {"text/plain": {"schema": {"type": "string"}}})
GET_ITEM = _route("One item", CollectionNotFound, ItemNotFound, InvalidInput)
DELETE = _route("Delete items", *_BODY, CollectionNotFound, InvalidInput) | _body(
    "Which ones.", _json(DeleteRequest, "delete")
)
SEARCH = _route("Find the nearest items", *_BODY, CollectionNotFound, *_EMBEDDED, InvalidInput) | _body(
    "What to look for.", _json(SearchRequest, "search") | _FILES
)
