"""What a route asks for in its signature."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.backends.base import Backend, Inference
from service.errors import Overloaded
from service.media.decoders import Decoders
from service.offload import Offload
from service.settings import Settings
from service.vectors.store import Store
from service.web.admission import Admission
from service.web.body import Room, Upload, scratch, upload
from service.web.capability import Capability
from service.web.estimate import nominal_s
from service.web.keys import Keys
from service.web.limits import Limits
from service.web.metrics import Metrics
from service.web.work import Work


@dataclass(frozen=True, slots=True)
class Runtime:
    """What lives as long as the application does."""

    settings: Settings
    backend: Backend
    offload: Offload
    slow: Offload
    room: Room  # for bodies that have to wait
    decoders: Decoders
    keys: Keys | None  # None: none are asked for
    limits: Limits
    admission: Admission
    metrics: Metrics
    capabilities: tuple[Capability, ...]
    started: asyncio.Task[None]  # ends when every model is loaded and warm
    draining: asyncio.Event  # the service is about to end: what is begun goes on, and balancers shall look elsewhere
    streams: asyncio.Semaphore  # a place for each stream that may be open
    vectors: Store


def _runtime(connection: HTTPConnection) -> Runtime:
    runtime: Runtime = connection.app.state.runtime
    return runtime


RuntimeDep = Annotated[Runtime, Depends(_runtime)]


async def _work(connection: HTTPConnection, runtime: RuntimeDep) -> AsyncIterator[Work]:
    """Admits the request until it is worked out: neither its upload nor its answer holds a place. Raises Overloaded."""
    kind = getattr(connection.scope.get("route"), "path", "")
    longest_s = max(runtime.settings.max_audio_s, runtime.settings.max_embedding_audio_s)
    cost_s = nominal_s(getattr(connection.state, "upload", None), longest_s)
    with (
        runtime.admission.admit(kind, cost_s, connection.scope.get("auricle.key")),
        runtime.offload.admit() as offload,
        runtime.backend.pinned() as models,
    ):
        yield _worked(runtime, models, offload, connection)


async def _live_work(connection: HTTPConnection, runtime: RuntimeDep) -> AsyncIterator[Work]:
    """Raises Overloaded when `max_streams` are open."""
    if runtime.streams.locked():
        raise Overloaded(f"{runtime.settings.max_streams} streams are open, which is all that are served at once")
    async with runtime.streams:
        with runtime.backend.pinned() as models:
            yield _worked(runtime, models, runtime.offload, connection)


def _worked(runtime: Runtime, models: Inference, offload: Offload, connection: HTTPConnection) -> Work:
    trace = connection.state.trace
    return Work(runtime.settings, models, offload, runtime.slow, runtime.decoders, trace)


# Asked for behind UploadDep, as dependencies are resolved in order.
WorkDep = Annotated[Work, Depends(_work, scope="function")]
LiveWorkDep = Annotated[Work, Depends(_live_work)]  # of a stream, which may be idle: each step is admitted by itself
UploadDep = Annotated[Upload, Depends(upload)]
ScratchDep = Annotated[BinaryIO, Depends(scratch)]


def served(capability: Capability) -> Callable[[RuntimeDep], Coroutine[Any, Any, None]]:
    """Dependency of all routes of `capability`: refuses them while its models are missing."""

    async def check(runtime: RuntimeDep) -> None:
        await capability.check(runtime.backend)

    return check
