"""The model repository and what runs it: every model is loaded and warmed, as the service does it."""

import asyncio
import time
from collections.abc import Iterator

from service.app import discover
from service.backends.auto import create
from service.cli.doctor.finding import Finding
from service.repository import RepositoryError, load
from service.settings import Settings
from service.web.capability import Models, built

_TRITON = "AURICLE_TRITON_URL is the gRPC port, 8001 by custom; does `curl HOST:8000/v2/health/ready` say 200 there?"


def check(settings: Settings) -> Iterator[Finding]:
    if settings.triton_url:
        for address in settings.triton_url.split(","):
            yield from _triton(settings.model_copy(update={"triton_url": address.strip()}))
    else:
        yield from _embedded(settings)


def _embedded(settings: Settings) -> Iterator[Finding]:
    subject, folder = "models", settings.model_repository
    try:
        models = load(folder)
    except RepositoryError as exc:
        yield Finding("error", subject, str(exc), "correct that config.pbtxt")
        return
    if not models:
        yield Finding("error", subject, f"there is none in {folder}", "AURICLE_MODEL_REPOSITORY names the folder")
        return
    if unbuilt := [name for name in models if not built(models, name)]:
        yield Finding("warning", subject, f"not built: {', '.join(unbuilt)}", f"auricle export --out {folder}")
    else:
        yield asyncio.run(_load(settings))
    yield from _capabilities(models)


async def _load(settings: Settings) -> Finding:
    began = time.monotonic()
    backend = create(settings)
    try:
        await backend.start()
    except RepositoryError as exc:
        return Finding("error", "models", str(exc), f"build it again: auricle export --out {settings.model_repository}")
    finally:
        await backend.close()
    names, seconds = ", ".join(sorted(backend.models)), time.monotonic() - began
    return Finding("ok", "models", f"{names}: loaded and warm in {seconds:.1f} s")


def _triton(settings: Settings) -> Iterator[Finding]:
    models, absent = asyncio.run(_ask(settings))
    subject = f"Triton {settings.triton_url}"
    if not models:
        yield Finding("error", subject, "is not reachable, or has no model", _TRITON)
        return
    if absent:
        advice = "its log says why; a model that it never had: `auricle export --out` into its repository"
        yield Finding("error", subject, f"not ready: {', '.join(absent)}", advice)
    else:
        yield Finding("ok", subject, f"{', '.join(sorted(models))}: ready")
    yield from _capabilities(models)


async def _ask(settings: Settings) -> tuple[Models, list[str]]:
    """The models of the server, and those that are not ready."""
    backend = create(settings)
    try:
        await backend.start()
        return backend.models, [name for name in backend.models if not await backend.ready(name)]
    finally:
        await backend.close()


def _capabilities(models: Models) -> Iterator[Finding]:
    for capability in discover():
        if missing := capability.missing(models):
            yield Finding("warning", capability.name, f"is not served: there is no {' and no '.join(missing)}")
