"""Picks the engine: a Milvus server where one is named, else Qdrant Edge in a process beside this one."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from service.settings import Settings
from service.vectors.store import Store


def create(settings: Settings) -> Store:
    """Opens nothing yet. Raises ModuleNotFoundError where a server is named and pymilvus is not installed."""
    store = partial(Store, max_queued=settings.max_queued_jobs, deadline_s=settings.deadline_s)
    if settings.vector_url:
        from service.vectors.milvus import Milvus

        engine = Milvus(settings.vector_url, settings.deadline_s)

        def call(method: str, *args: Any) -> Any:
            return getattr(engine, method)(*args)

        return store(partial(ThreadPoolExecutor, _CALLS, "vectors"), call)

    from service.vectors import child
    from service.vectors.edge import Edge

    return store(child.pool, partial(child.call, partial(Edge, settings.vector_store)))


_CALLS = 8  # to the server at once
