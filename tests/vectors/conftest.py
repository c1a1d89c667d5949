"""The engines as one fixture for the contract suite: Qdrant Edge in a folder, and the real Milvus server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.vectors.base import Engine
from service.vectors.edge import Edge

Open = Callable[[], Engine]


@pytest.fixture(params=["edge", pytest.param("milvus", marks=pytest.mark.milvus)])
def open_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store each time."""
    if request.param == "edge":
        return lambda: Edge(tmp_path / "vectors")
    from service.vectors.milvus import Milvus

    url = request.getfixturevalue("milvus").url
    return lambda: Milvus(url, timeout_s=60)


@pytest.fixture
def engine(open_engine: Open) -> Iterator[Engine]:
    engine = open_engine()
    yield engine
    for collection in engine.collections():
        engine.drop(collection.name)
    engine.close()
