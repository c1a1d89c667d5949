"""The taxonomy of outcomes: one class = one HTTP status = one problem slug.

ServiceError
├── MalformedInput      400  the bytes claim a format and break its rules
├── Unauthorized        401  no API key, or none that is known
├── ModelNotFound       404  no such model in the repository
├── CollectionNotFound  404  no such collection of vectors
├── ItemNotFound        404  no such item in the collection
├── ModelMismatch       409  tokens of another version of the model
├── CollectionExists    409  a collection of that name, and of another kind
├── SpaceMismatch       409  vectors of another space
├── PayloadTooLarge     413  more than we accept
├── UnsupportedMedia    415  no format that we read
├── InvalidInput        422  readable, but outside what the model accepts
├── RateLimited         429  more requests than the API key is allowed
├── InferenceFailed     500  the graph itself raised
├── Overloaded          503  the queue is full
├── BackendUnavailable  503  the model is not loaded, or its server is unreachable
├── DeadlineExceeded    504  no answer within the limit
└── StorageFull         507  no room left on the disk

Knows nothing about HTTP beyond the number: `service.web.problems` renders these, once.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar


class ServiceError(Exception):
    """Base of every outcome that a client is told about; never raised itself.

    `detail` is written for the client. `errors` lists single faults as in RFC 9457: `{"pointer": ..., "detail": ...}`.
    """

    status: ClassVar[int]
    slug: ClassVar[str]
    title: ClassVar[str]
    retry_after: int | None = None  # seconds; where one knows better than its class, it says so

    def __init__(
        self, detail: str, *, errors: list[dict[str, Any]] | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        if retry_after is not None:
            self.retry_after = retry_after


class MalformedInput(ServiceError):
    status = 400
    slug = "malformed-input"
    title = "The request body is damaged"


class Unauthorized(ServiceError):
    status = 401
    slug = "unauthorized"
    title = "An API key is needed"


class ModelNotFound(ServiceError):
    status = 404
    slug = "model-not-found"
    title = "There is no such model"


class CollectionNotFound(ServiceError):
    status = 404
    slug = "collection-not-found"
    title = "There is no such collection"


class ItemNotFound(ServiceError):
    status = 404
    slug = "item-not-found"
    title = "There is no such item"


class ModelMismatch(ServiceError):
    status = 409
    slug = "model-mismatch"
    title = "The tokens belong to another version of the model"


class CollectionExists(ServiceError):
    status = 409
    slug = "collection-exists"
    title = "There is such a collection already, and it is of another kind"


class SpaceMismatch(ServiceError):
    status = 409
    slug = "space-mismatch"
    title = "The vectors belong to another space"


class PayloadTooLarge(ServiceError):
    status = 413
    slug = "payload-too-large"
    title = "The request is too large"


class UnsupportedMedia(ServiceError):
    status = 415
    slug = "unsupported-media"
    title = "The format is not one that is read here"


class InvalidInput(ServiceError):
    status = 422
    slug = "invalid-input"
    title = "The input is outside what is accepted"


class RateLimited(ServiceError):
    status = 429
    slug = "rate-limited"
    title = "The API key is at its limit"
    retry_after = 1


class InferenceFailed(ServiceError):
    status = 500
    slug = "inference-failed"
    title = "The model could not process this input"


class Overloaded(ServiceError):
    status = 503
    slug = "overloaded"
    title = "The service is at its limit"
    retry_after = 1


class BackendUnavailable(ServiceError):
    status = 503
    slug = "backend-unavailable"
    title = "The model is not available at the moment"
    retry_after = 5


class DeadlineExceeded(ServiceError):
    status = 504
    slug = "deadline-exceeded"
    title = "No answer within the time limit"


class StorageFull(ServiceError):
    status = 507
    slug = "storage-full"
    title = "There is no room to store this"


@contextmanager
def on_disk() -> Iterator[None]:
    """Raises StorageFull where the system says so of files for bodies."""
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("the disk for bodies is full") from exc
        raise
