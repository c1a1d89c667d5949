"""What a route asks for in its signature."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from service.backends.base import Backend
from service.offload import Offload
from service.settings import Settings
from service.web.body import Upload, upload
from service.web.capability import Capability
from service.web.metrics import Metrics
from service.web.trace import Trace


@dataclass(frozen=True, slots=True)
class Runtime:
    """What lives as long as the application does."""

    settings: Settings
    backend: Backend
    offload: Offload
    metrics: Metrics
    capabilities: tuple[Capability, ...]
    started: asyncio.Task[None]  # ends when every model is loaded and warm


def _runtime(connection: HTTPConnection) -> Runtime:
    runtime: Runtime = connection.app.state.runtime
    return runtime


RuntimeDep = Annotated[Runtime, Depends(_runtime)]


def _settings(runtime: RuntimeDep) -> Settings:
    return runtime.settings


def _backend(runtime: RuntimeDep) -> Backend:
    return runtime.backend


def _offload(runtime: RuntimeDep) -> Offload:
    return runtime.offload


def _trace(connection: HTTPConnection) -> Trace:
    trace: Trace = connection.state.trace
    return trace


SettingsDep = Annotated[Settings, Depends(_settings)]
BackendDep = Annotated[Backend, Depends(_backend)]
OffloadDep = Annotated[Offload, Depends(_offload)]
TraceDep = Annotated[Trace, Depends(_trace)]
UploadDep = Annotated[Upload, Depends(upload)]


def served(capability: Capability) -> Callable[[RuntimeDep], Coroutine[Any, Any, None]]:
    """Dependency of all routes of `capability`: raises ModelNotFound while the repository lacks its models."""

    async def check(runtime: RuntimeDep) -> None:
        capability.check(runtime.backend.models, remote=runtime.settings.triton_url is not None)

    return check
