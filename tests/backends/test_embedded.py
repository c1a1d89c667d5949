"""What the embedded backend reads in config.pbtxt beyond the contract: versions, warm-up, instances, broken models."""

import asyncio
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from service.backends.embedded.backend import Embedded
from service.errors import BackendUnavailable
from service.repository import RepositoryError, load
from tests.backends import models

X = {"x": np.zeros((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", 10),
        ("version_policy { latest { num_versions: 2 } }", 10),
        ("version_policy { all {} }", 10),
        ("version_policy { specific { versions: [2] } }", 2),
    ],
)
async def test_the_newest_allowed_version_is_served(tmp_path: Path, policy: str, served: int) -> None:
    folder = models.build(tmp_path, "add") / "add"
    for version in (2, 10):
        models.write_version(folder, version)
    with (folder / "config.pbtxt").open("a") as config:
        config.write(policy)

    backend = Embedded(load(tmp_path))
    await backend.start()
    assert (await backend.infer("add", X))["y"][0, 0] == served
    await backend.close()


async def test_models_are_known_before_they_are_ready(tmp_path: Path) -> None:
    backend = Embedded(load(models.build(tmp_path, "add")))
    assert list(backend.models) == ["add"]
    assert not await backend.ready("add")
    with pytest.raises(BackendUnavailable):
        await backend.infer("add", X)
    await backend.start()
    assert await backend.ready("add")
    await backend.close()


async def test_a_model_that_fails_its_warm_up_stops_the_start(tmp_path: Path) -> None:
    folder = models.build(tmp_path, "add") / "add"
    config = (folder / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text(config.replace("dims: [4] random_data", "dims: [5] random_data"))
    backend = Embedded(load(tmp_path))
    with pytest.raises(RepositoryError, match="warm-up 'noise' of model 'add'"):
        await backend.start()
    assert not await backend.ready("add")
    await backend.close()


@pytest.mark.parametrize(
    ("breakage", "complaint"),
    [
        (lambda folder: shutil.rmtree(folder / "1"), "has no version to load"),
        (lambda folder: (folder / "1" / "model.onnx").write_bytes(b"no graph"), "does not load"),
        (lambda folder: (folder / "1" / "model.onnx").unlink(), "does not load"),
    ],
)
async def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path, breakage, complaint: str) -> None:  # type: ignore[no-untyped-def]
    breakage(models.build(tmp_path, "add") / "add")
    backend = Embedded(load(tmp_path))
    with pytest.raises(RepositoryError, match=f"model 'add'.* {complaint}"):
        await backend.start()
    await backend.close()


@pytest.mark.parametrize(
    ("name", "renamed", "complaint"),
    [
        ('input { name: "x"', 'input { name: "z"', "the graph has inputs"),
        ('output { name: "y"', 'output { name: "z"', "the graph has no output 'z'"),
        ('backend: "onnxruntime"', 'backend: "pytorch"', "is for the backend 'pytorch'"),
    ],
)
async def test_a_config_that_is_not_the_graphs_is_refused(
    tmp_path: Path, name: str, renamed: str, complaint: str
) -> None:
    file = models.build(tmp_path, "add") / "add" / "config.pbtxt"
    file.write_text(file.read_text().replace(name, renamed))
    backend = Embedded(load(tmp_path))
    with pytest.raises(RepositoryError, match=complaint):
        await backend.start()
    await backend.close()


async def test_a_closed_backend_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    backend = Embedded(load(models.build(tmp_path, "add")))
    await backend.start()
    await asyncio.gather(*(backend.infer("add", X) for _ in range(4)))
    await backend.close()
    assert threading.active_count() <= before


async def test_a_graph_of_other_weights_than_the_config_names_is_refused(tmp_path: Path) -> None:
    folder = models.build(tmp_path, "add") / "add"
    graph = onnx.load(folder / "1" / "model.onnx")
    onnx.helper.set_model_props(graph, {"weights_digest": "old"})
    onnx.save(graph, folder / "1" / "model.onnx")
    with (folder / "config.pbtxt").open("a") as config:
        config.write('parameters { key: "weights_digest" value { string_value: "new" } }')
    backend = Embedded(load(tmp_path))
    with pytest.raises(RepositoryError, match="auricle export add"):
        await backend.start()
    await backend.close()
