"""The vector store that search is in."""

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec

from service.cli.doctor.finding import Finding
from service.errors import ServiceError
from service.settings import Settings
from service.vectors import auto
from service.vectors.base import Collection, Engine

_SUBJECT = "collections"


def check(settings: Settings) -> Iterator[Finding]:
    if settings.vector_url:
        if find_spec("pymilvus") is None:
            yield Finding("error", _SUBJECT, "pymilvus is not installed", "pip install 'auricle[milvus]'")
            return
    elif not settings.vector_store.exists():  # looking would make it
        yield Finding("ok", _SUBJECT, f"none yet: {settings.vector_store.absolute()} is made when it is first needed")
        return
    where = settings.vector_url or str(settings.vector_store.absolute())
    try:
        collections = asyncio.run(_collections(settings))
    except ServiceError as exc:
        if settings.vector_url:
            yield Finding("error", _SUBJECT, f"{where}: {exc}", "AURICLE_VECTOR_URL is http(s)://host:19530 of Milvus")
        else:
            advice = "if no service has it open: AURICLE_VECTOR_STORE is the folder, and must be writable"
            yield Finding("warning", _SUBJECT, f"{where}: {exc}", advice)
    else:
        yield Finding("ok", _SUBJECT, f"{len(collections)} in {where}")


async def _collections(settings: Settings) -> list[Collection]:
    store = auto.create(settings)
    try:
        return await store.run(Engine.collections)
    finally:
        await store.close()
