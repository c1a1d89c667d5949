"""The application: the one file that knows all the others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pkgutil import iter_modules
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service import models
from service.backends.auto import create, kind
from service.media.decoders import Decoders
from service.offload import Offload
from service.settings import Settings
from service.vectors import auto as vector_engines
from service.web import docs, problems, system
from service.web.access import REFUSALS, SECURITY, access
from service.web.admission import Admission
from service.web.body import BodyLimit, Room
from service.web.capability import Capability
from service.web.deps import Runtime, served
from service.web.disconnect import Disconnect
from service.web.keys import Keys
from service.web.limits import Limits
from service.web.metrics import Metrics
from service.web.telemetry import Telemetry, Tracing

DESCRIPTION = """\
Models that hear, behind HTTP. Send a recording as the raw body of a request, pictures of a room as a form; `Accept`
chooses the form of the answer.

Every error is an RFC 9457 problem (`application/problem+json`) whose `type` never changes and whose `request_id` is the
`X-Request-Id` of the answer. `Server-Timing` says where the time went.
"""


class Gateway(FastAPI):
    """FastAPI, with the problems in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document["components"]["schemas"] |= problems.schemas()
        document["components"]["securitySchemes"] = SECURITY
        document["security"] = [{name: []} for name in SECURITY] + [{}]
        return document


def create_app(settings: Settings) -> FastAPI:
    """The gateway as an ASGI application. Its models load in the background once its lifespan begins."""
    capabilities = tuple(discover())
    metrics = Metrics(kind(settings))
    tracing = _tracing(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend = create(settings, metrics)
        offload = Offload(settings.preprocess_workers, settings.max_queued_jobs)
        slow = Offload(workers=1, max_queued=settings.max_queued_slow_jobs)
        decoders = Decoders(settings.preprocess_workers, settings.decode_memory_bytes, settings.decode_cpu_s)
        started = asyncio.create_task(backend.start())
        streams = asyncio.Semaphore(settings.max_streams)
        vectors = vector_engines.create(settings)
        app.state.runtime = Runtime(
            settings=settings,
            backend=backend,
            offload=offload,
            slow=slow,
            room=Room(settings.max_spool_bytes),
            decoders=decoders,
            keys=Keys(settings.api_keys_file) if settings.api_keys_file else None,
            limits=Limits(),
            admission=Admission(settings.max_queue_s, metrics.on_admission),
            metrics=metrics,
            capabilities=capabilities,
            started=started,
            draining=asyncio.Event(),
            streams=streams,
            vectors=vectors,
        )
        try:
            yield
        finally:
            started.cancel()
            await asyncio.wait({started})
            await backend.close()
            await vectors.close()
            await asyncio.to_thread(offload.close)
            await asyncio.to_thread(slow.close)
            await asyncio.to_thread(decoders.close)
            if tracing:
                await asyncio.to_thread(tracing.close)

    app = Gateway(
        title="Auricle",
        summary="Sound to tokens and back, and pictures of a room to its acoustics.",
        description=DESCRIPTION,
        version=_version(),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(Telemetry, metrics, tracing),
            *_cors(settings),
            Middleware(problems.Failures),
            Middleware(Disconnect),
            Middleware(BodyLimit, settings.max_body_bytes, settings.body_timeout_s),
        ],
        exception_handlers=dict.fromkeys(problems.HANDLED, problems.answer),
    )
    app.include_router(system.router(capabilities))
    for capability in capabilities:
        dependencies = [Depends(access), Depends(served(capability))]
        app.include_router(capability.router, dependencies=dependencies, responses=REFUSALS)
    app.include_router(docs.router)
    app.router.routes.append(docs.assets)
    return app


def discover() -> Iterator[Capability]:
    """The `capability` of every package in `service.models`."""
    for module in iter_modules(models.__path__):
        if module.ispkg:
            capability: Capability = import_module(f"{models.__name__}.{module.name}").capability
            yield capability


def _tracing(settings: Settings) -> Tracing | None:
    """Raises ModuleNotFoundError where a collector is named and the SDK is not installed."""
    if not settings.otlp_endpoint:
        return None
    from service.web.tracing import OpenTelemetry

    return OpenTelemetry(settings.otlp_endpoint, _version())


def _cors(settings: Settings) -> Iterator[Middleware]:
    if settings.cors_origins:
        yield Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-Id", "traceparent"],
            expose_headers=["X-Request-Id", "Server-Timing", "Retry-After"],
        )


def _version() -> str:
    try:
        return version("auricle")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0"
