"""A new version of a model comes into use while requests run: none is dropped, none gets an answer of two versions."""

import asyncio
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from service.backends.base import Backend
from service.backends.embedded.backend import Embedded
from service.backends.triton.backend import Triton
from service.repository import load
from tests.backends import models
from tests.backends.conftest import Record
from tests.conftest import StartTriton
from tests.until import until

X = {"x": np.zeros((1, 4), np.float32)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the model `add`, with room for the version that requests in flight still need."""
    folder = models.build(tmp_path / "models", "add") / "add"
    with (folder / "config.pbtxt").open("a") as config:
        config.write("version_policy { latest { num_versions: 2 } }")
    return folder


@pytest.mark.parametrize("kind", ["embedded", pytest.param("tritonserver", marks=pytest.mark.tritonserver)])
async def test_a_new_version_is_used_and_no_request_is_dropped(
    kind: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    record, repository = Record(), folder.parent
    backend: Backend
    if kind == "embedded":
        backend = Embedded(load(repository), look=partial(load, repository), poll_s=0.05, observer=record)
    else:
        server = request.getfixturevalue("tritonserver")(repository)
        backend = Triton([server.url], poll_s=0.05, observer=record)
    await backend.start()
    served: list[int | None] = []
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            with backend.pinned() as pinned:  # a request of two inferences
                version = pinned.models["add"].version
                for _ in range(2):
                    assert (await pinned.infer("add", X))["y"][0, 0] == version
            served.append(version)

    def is_served(version: int) -> bool:
        return backend.models["add"].version == version and version in served[-8:]

    clients = [asyncio.create_task(client()) for _ in range(8)]
    with backend.pinned() as old:
        await until(partial(is_served, 1))
        models.write_version(folder, 2)
        if kind == "tritonserver":
            async with InferenceServerClient(server.url) as control:
                await control.load_model("add")
        await until(partial(is_served, 2))
        assert (await old.infer("add", X))["y"][0, 0] == 1
    over.set()
    await asyncio.gather(*clients)
    assert (await backend.infer("add", X))["y"][0, 0] == 2
    assert record.refused == []
    assert record.reloads == [("add", 1, "loaded"), ("add", 2, "loaded")]
    await backend.close()


async def test_a_version_that_does_not_load_changes_nothing_until_it_is_mended(folder: Path) -> None:
    record = Record()
    backend = Embedded(load(folder.parent), look=partial(load, folder.parent), poll_s=0.02, observer=record)
    await backend.start()
    aside = folder.parent / ".2"
    aside.mkdir()
    (aside / "model.onnx").write_bytes(b"no graph")
    aside.rename(folder / "2")
    await until(lambda: record.reloads[-1] == ("add", 2, "failed"))
    assert (await backend.infer("add", X))["y"][0, 0] == 1

    models.write_version(folder, 3)
    await until(lambda: record.reloads[-1] == ("add", 3, "loaded"))
    assert (await backend.infer("add", X))["y"][0, 0] == 3

    shutil.rmtree(folder / "2")
    shutil.rmtree(folder / "3")  # back to the former one
    await until(lambda: record.reloads[-1] == ("add", 1, "loaded"))
    assert (await backend.infer("add", X))["y"][0, 0] == 1
    assert record.reloads.count(("add", 2, "failed")) == 1  # not tried again and again
    await backend.close()


async def test_what_is_served_outlives_a_repository_that_is_damaged_or_gone(folder: Path) -> None:
    looks = 0

    def look() -> dict[str, object]:
        nonlocal looks
        looks += 1
        return dict(load(folder.parent))

    backend = Embedded(load(folder.parent), look=look, poll_s=0.02)  # type: ignore[arg-type]
    await backend.start()
    (folder / "config.pbtxt").write_text("this is no configuration")
    await until(lambda: looks >= 3)
    shutil.rmtree(folder.parent)
    gone = looks
    await until(lambda: looks >= gone + 3)
    assert (await backend.infer("add", X))["y"][0, 0] == 1
    await backend.close()


@pytest.mark.tritonserver
async def test_a_version_that_a_server_gave_up_is_refused_and_never_replaced(
    tritonserver: StartTriton, tmp_path: Path
) -> None:
    folder = models.build(tmp_path / "models", "add") / "add"  # Triton's own policy: the latest one only
    server = tritonserver(folder.parent)
    backend = Triton([server.url], poll_s=0)
    await backend.start()
    models.write_version(folder, 2)
    async with InferenceServerClient(server.url) as control:
        await control.load_model("add")
    assert await backend.ready("add")
    assert (await backend.infer("add", X))["y"][0, 0] == 2
    await backend.close()
