"""Probes, metrics and the list of what is served."""

import asyncio
import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any, Literal

from fastapi import APIRouter, Depends, Path
from fastapi.responses import RedirectResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from service.errors import BackendUnavailable, InvalidInput, ModelNotFound, Overloaded
from service.web.access import REFUSALS, access
from service.web.capability import Capability, Description
from service.web.deps import RuntimeDep
from service.web.problems import responses


class Live(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    models: list[str] = Field(description="The models that are loaded and warm.", examples=[["tokenizer_encoder"]])


class Entry(BaseModel):
    """One capability in the list of models."""

    name: str = Field(examples=["tokenizer"])
    summary: str
    served: bool = Field(description="Whether the model repository has everything that it needs.")
    missing: list[str] = Field(description="Models that the repository lacks.")


class Models(BaseModel):
    models: list[Entry]


def router(capabilities: Sequence[Capability]) -> APIRouter:
    """The routes that every deployment has; `capabilities` give `/v1/models/{name}` the schemas of its answers."""
    system = APIRouter(tags=["system"])
    descriptions: Any = reduce(operator.or_, (capability.description for capability in capabilities))
    names = [capability.name for capability in capabilities]

    @system.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @system.get("/livez", summary="Is the process alive?")
    async def livez() -> Live:
        """Answers as long as the event loop turns, also while models are still loading."""
        return Live()

    @system.get("/readyz", summary="Can it take work?", responses=responses(BackendUnavailable))
    async def readyz(runtime: RuntimeDep) -> Ready:
        """503 until every model of the repository is loaded and warm, with the ones that are missing in `errors`; and
        again from the moment that the service is told to end.
        """
        if runtime.draining.is_set():
            raise BackendUnavailable("The service is shutting down.")
        backend = runtime.backend
        wanted = {model for capability in capabilities for model in (*capability.required, *capability.optional)}
        names = sorted({*backend.models, *wanted})
        ready = dict(zip(names, await asyncio.gather(*(backend.ready(name) for name in names)), strict=True))
        absent = [name for name in names if name in backend.models and not ready[name]]
        if all(capability.missing(backend.models) for capability in capabilities if capability.required):
            absent = [model for capability in capabilities for model in capability.missing(backend.models)]
        if absent:
            raise BackendUnavailable(
                f"Not ready: {', '.join(absent)}.",
                errors=[{"pointer": f"/models/{model}", "detail": "not loaded and warm"} for model in absent],
            )
        return Ready(models=sorted(backend.models))

    @system.get("/metrics", summary="Prometheus metrics", response_class=Response, responses={200: _METRICS})
    async def metrics(runtime: RuntimeDep) -> Response:
        """Durations per route and stage, batch sizes, queue depths, refusals and problems by reason."""
        text = await asyncio.to_thread(generate_latest, runtime.metrics.registry)  # some milliseconds
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @system.get("/v1/models", dependencies=[Depends(access)], summary="What is served", responses=REFUSALS)
    async def list_models(runtime: RuntimeDep) -> Models:
        return Models(
            models=[
                Entry(name=capability.name, summary=capability.summary, served=not missing, missing=missing)
                for capability in capabilities
                for missing in [capability.missing(runtime.backend.models)]
            ]
        )

    @system.get(
        "/v1/models/{name}",
        dependencies=[Depends(access)],
        summary="Rates, limits, formats and versions of one",
        response_model=descriptions,
        responses={**REFUSALS, **responses(ModelNotFound, InvalidInput, BackendUnavailable, Overloaded)},
    )
    async def get_model(
        runtime: RuntimeDep, name: str = Path(description="A name that `/v1/models` lists.", examples=names)
    ) -> Description:
        capability = next((capability for capability in capabilities if capability.name == name), None)
        if capability is None:
            raise ModelNotFound(f"There is no model {name[:64]!r}; there is {', '.join(names)}.")
        await capability.check(runtime.backend)
        return await runtime.offload.run(capability.describe, runtime.backend.models, runtime.settings)

    return system


_METRICS: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text format."}
