"""What a client could send to hurt a collection: each is a clear 4xx that says where, and nothing is written."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from service.app import create_app
from service.settings import Settings
from tests.api.conftest import in_memory

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRICT = "/v1/collections/strict"
SPACE = {"dims": 4, "space_id": "other-model"}
V = [1, 0, 0, 0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    store = tmp_path_factory.mktemp("store")
    async with in_memory(create_app(Settings(model_repository=repository, vector_store=store))) as client:
        assert (await client.put(STRICT, json=SPACE)).status_code == 200
        yield client


PACKED_NAN = base64.b64encode(np.array([np.nan, 0, 0, 0], "<f4").tobytes()).decode()


def items(*given: dict[str, Any], **fields: Any) -> str:
    """The body of a request to write vectors."""
    return json.dumps(
        {"items": [{"id": str(i)} | item for i, item in enumerate(given)], "space_id": "other-model"} | fields
    )


def query(**fields: Any) -> str:
    return json.dumps({"vector": V, "space_id": "other-model"} | fields)


REFUSED: dict[str, tuple[str, str, str, int]] = {
    "no JSON": ("items", "{", "", 400),
    "an empty list": ("items", items(), "/items", 422),
    "too many items": ("items", items(*[{"vector": V}] * 10_000), "/items", 422),
    "numbers without end": ("items", items({"vector": [1] * (1 << 19)}), "", 413),
    "a string of 17 MB": ("items", items({"text": "x" * (17 << 20)}), "", 413),
    "too few numbers": ("items", items({"vector": [1, 2]}), "/items/0/vector", 422),
    "NaN": ("items", items({"vector": [float("nan"), 0, 0, 0]}), "/items/0/vector", 422),
    "NaN in base64": ("items", items({"vector": PACKED_NAN}), "/items/0/vector", 422),
    "beyond float32": ("items", items({"vector": [1e300, 0, 0, 0]}), "/items/0/vector", 422),
    "no base64": ("items", items({"vector": "?"}), "/items/0/vector", 422),
    "zeros": ("items", items({"vector": V}, {"vector": [0, 0, 0, 0]}), "/items/1/vector", 422),
    "no space": ("items", items({"vector": V}, space_id=None), "/space_id", 422),
    "two contents": ("items", items({"vector": V, "text": "a"}), "/items/0", 422),
    "vectors beside texts": ("items", items({"vector": V}, {"text": "a"}), "", 422),
    "an id twice": ("items", items({"vector": V}, {"vector": V, "id": "0"}), "", 422),
    "an id with NUL": ("items", items({"id": "a\0", "vector": V}), "/items/0/id", 422),
    "an endless id": ("items", items({"id": "a" * 257, "vector": V}), "/items/0/id", 422),
    "nested metadata": ("items", items({"vector": V, "metadata": {"a": {"b": 1}}}), "/items/0/metadata/a", 422),
    "a bad field": ("items", items({"vector": V, "metadata": {"a.b": 1}}), "/items/0/metadata/a.b", 422),
    "a huge integer": ("items", items({"vector": V, "metadata": {"a": 2**60}}), "/items/0/metadata/a", 422),
    "half a range": ("items", items({"windows": [{"vector": V, "start_s": 1}]}), "/items/0/windows/0", 422),
    "an unknown operator": ("search", query(filter={"a": {"$regex": "x"}}), "/filter/a/$regex", 422),
    "an unknown group": ("search", query(filter={"$nor": []}), "/filter/$nor", 422),
    "text compared": ("search", query(filter={"a": {"$gt": "x"}}), "/filter/a/$gt", 422),
    "choices without end": ("search", query(filter={"a": {"$in": list(range(300))}}), "/filter/a/$in", 422),
    "conditions without end": ("search", query(filter={f"a{i}": 1 for i in range(65)}), "/filter", 422),
    "a deep filter": (
        "search",
        '{"vector": [1], "filter": ' + '{"$or": [' * 50 + "1" + "]}" * 50 + "}",
        "/filter" + "/$or/0" * 9,
        422,
    ),
    "an empty filter": ("delete", '{"filter": {}}', "/filter", 422),
    "nothing to delete": ("delete", "{}", "", 422),
    "k of nothing": ("search", query(k=0), "/k", 422),
    "k of too many": ("search", query(k=101), "/k", 422),
    "nothing to find": ("search", "{}", "", 422),
    "too many numbers": ("search", query(vector=[*V, 1]), "/vector", 422),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_makes_no_sense_is_refused_where_it_stands(gateway: httpx.AsyncClient, name: str) -> None:
    route, body, pointer, status = REFUSED[name]
    answer = await gateway.post(f"{STRICT}/{route}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert pointer in {fault["pointer"] for fault in answer.json().get("errors", [{"pointer": ""}])}
    assert (await gateway.get(STRICT)).json()["items"] == 0


@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", "a" * 65, "_a", "%2e%2e"])
async def test_names_are_plain(gateway: httpx.AsyncClient, name: str) -> None:
    assert (await gateway.put(f"/v1/collections/{name}", json=SPACE)).status_code in (404, 422)
