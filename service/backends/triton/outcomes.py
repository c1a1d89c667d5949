"""Triton's statuses as the service's own outcomes: one table, which a test walks."""

import logging
from collections.abc import Mapping, Sequence

import grpc
from tritonclient.utils import InferenceServerException

from service.backends.base import failure
from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServiceError,
)

logger = logging.getLogger(__name__)

STATUSES: Mapping[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.CANCELLED: BackendUnavailable,  # by the server; our own cancellation is a CancelledError
    grpc.StatusCode.UNKNOWN: InferenceFailed,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: ModelNotFound,
    grpc.StatusCode.ALREADY_EXISTS: InferenceFailed,
    grpc.StatusCode.PERMISSION_DENIED: BackendUnavailable,
    grpc.StatusCode.UNAUTHENTICATED: BackendUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InferenceFailed,
    grpc.StatusCode.FAILED_PRECONDITION: InferenceFailed,
    grpc.StatusCode.ABORTED: InferenceFailed,
    grpc.StatusCode.OUT_OF_RANGE: InferenceFailed,
    grpc.StatusCode.UNIMPLEMENTED: InferenceFailed,
    grpc.StatusCode.INTERNAL: InferenceFailed,
    grpc.StatusCode.UNAVAILABLE: BackendUnavailable,
    grpc.StatusCode.DATA_LOSS: InferenceFailed,
}

QUEUE_FULL = "Exceeds maximum queue size"

# Triton folds several outcomes into one status; only its message tells them apart.
MESSAGES: Sequence[tuple[grpc.StatusCode, str, type[ServiceError]]] = [
    (grpc.StatusCode.UNAVAILABLE, QUEUE_FULL, Overloaded),
    (grpc.StatusCode.UNAVAILABLE, "Request timeout expired", DeadlineExceeded),
    (grpc.StatusCode.INTERNAL, "is not healthy", BackendUnavailable),  # the process of a Python model has died
]


def translate(exc: InferenceServerException, model: str) -> ServiceError:
    """The outcome that the client is told; the server's own words go to the log."""
    status = next((code for code in grpc.StatusCode if str(code) == exc.status()), grpc.StatusCode.UNKNOWN)
    for code, text, kind in MESSAGES:
        if code is status and text in exc.message():
            return failure(kind, model)
    logger.warning("model %s: %s", model, exc)
    return failure(STATUSES[status], model)
