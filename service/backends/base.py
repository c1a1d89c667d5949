"""What every backend offers, and the checks that all of them make before a request is queued or sent."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
    ServiceError,
)
from service.repository import ModelConfig, TensorSpec
from service.tensors import Tensors


class Observer(Protocol):
    """Is told what happens on the inference floor, on the event loop; must return at once and never raise."""

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        """A batch of `batch_size` rows was run; `queue_s` is the longest wait among its requests.

        A remote server does not say how it batched: there each request counts as a batch, with all its time in
        `infer_s`.
        """

    def on_refused(self, model: str, reason: str) -> None:
        """A request was not answered; `reason` is the slug of its error."""

    def on_queue(self, model: str, depth: int) -> None:
        """`depth` requests now wait in this process (embedded), or are with the server."""

    def on_reload(self, model: str, version: int, outcome: str) -> None:
        """`model` is now served in `version` ("loaded"), or stays as it was because that one is no good ("failed")."""

    def on_server(self, address: str, *, up: bool, outstanding: int) -> None:
        """A Triton server is used, or passed over; so many of our requests are with it."""

    def on_ejected(self, address: str) -> None:
        """A Triton server does not answer, and is passed over from now on."""

    def on_retry(self, address: str) -> None:
        """A request that this Triton server did not take or answer is sent once more."""

    def on_shared_memory(self, address: str, size: int) -> None:
        """So many bytes of memory are shared with a Triton server on this host."""


class Unobserved:
    """The observer that looks away."""

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        pass

    def on_refused(self, model: str, reason: str) -> None:
        pass

    def on_queue(self, model: str, depth: int) -> None:
        pass

    def on_reload(self, model: str, version: int, outcome: str) -> None:
        pass

    def on_server(self, address: str, *, up: bool, outstanding: int) -> None:
        pass

    def on_ejected(self, address: str) -> None:
        pass

    def on_retry(self, address: str) -> None:
        pass

    def on_shared_memory(self, address: str, size: int) -> None:
        pass


class Inference(Protocol):
    """Named arrays in, named arrays out. Both backends give the same answer, or error, for the same request."""

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        """What is served, as far as it is known: a remote server is asked in `start`, and again by `ready`."""

    async def ready(self, model: str) -> bool:
        """Whether `model` is loaded, warm and reachable now. Never raises."""

    async def infer(
        self, model: str, inputs: Tensors, outputs: Sequence[str] | None = None, *, deadline: float | None = None
    ) -> Tensors:
        """Runs `model` on `inputs`, which carry the batch axis, and returns `outputs` (None: all that it has).

        `deadline` is an absolute time of the running loop's clock. Cancelling the call withdraws the request.
        Raises ModelNotFound, InvalidInput, Overloaded, BackendUnavailable, DeadlineExceeded, InferenceFailed.
        """


class Backend(Inference, Protocol):
    """Where models are loaded, watched and replaced by newer versions while they serve."""

    async def start(self) -> None:
        """Loads and warms every model; raises RepositoryError if one cannot be served."""

    async def close(self) -> None:
        """Ends running work; what still waits gets BackendUnavailable."""

    def pinned(self) -> AbstractContextManager[Inference]:
        """The models as they are now, for one request of several inferences: a new version does not change them.

        Where a server gives up a version that is pinned, its requests get BackendUnavailable, never another version.
        """


# One text for each outcome, so that a client cannot tell the backends apart.
DETAILS: Mapping[type[ServiceError], str] = {
    ModelNotFound: "there is no model {!r}",
    InvalidInput: "model {!r} does not accept this input",
    InferenceFailed: "model {!r} could not process this input",
    Overloaded: "the queue of model {!r} is full",
    BackendUnavailable: "model {!r} is not available",
    DeadlineExceeded: "model {!r} did not answer in time",
}


def failure(kind: type[ServiceError], model: str) -> ServiceError:
    return kind(DETAILS[kind].format(model))


def check_request(config: ModelConfig, inputs: Tensors, outputs: Sequence[str] | None) -> int:
    """The number of rows (1 for a model without batch axis); raises InvalidInput for what the model does not accept."""
    _check_names(config, "input", list(inputs), [spec.name for spec in config.inputs])
    if missing := [spec.name for spec in config.inputs if spec.name not in inputs]:
        raise InvalidInput(f"model {config.name!r} needs input {missing[0]!r}")
    _check_names(config, "output", outputs or [], [spec.name for spec in config.outputs])
    for spec in config.inputs:
        _check_tensor(config, spec, inputs)
    if config.max_batch_size == 0:
        return 1
    rows: dict[str, int] = {name: array.shape[0] for name, array in inputs.items()}
    size = max(rows.values())
    if min(rows.values()) != size:
        raise InvalidInput(f"inputs of model {config.name!r} have different batch sizes: {rows}")
    if not 1 <= size <= config.max_batch_size:
        raise InvalidInput(f"model {config.name!r} takes a batch of 1 to {config.max_batch_size}, not {size}")
    return size


def _check_names(config: ModelConfig, kind: str, given: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise InvalidInput(f"model {config.name!r} has no {kind} {unknown[0]!r}; it has {', '.join(known)}")


def _check_tensor(config: ModelConfig, spec: TensorSpec, inputs: Tensors) -> None:
    array = inputs[spec.name]
    where = f"input {spec.name!r} of model {config.name!r}"
    if array.dtype != spec.dtype:
        raise InvalidInput(f"{where} is {spec.dtype}, not {array.dtype}")
    expected = (-1, *spec.dims) if config.max_batch_size else spec.dims
    fits = array.ndim == len(expected) and all(d in (-1, n) for d, n in zip(expected, array.shape, strict=True))
    if not fits:
        raise InvalidInput(f"{where} has shape {list(expected)}, not {list(array.shape)}")
