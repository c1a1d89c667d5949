"""/v1/collections: what is written is found, by sentence, by sound and by vector, and nothing else is taken."""

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
from tests import sounds, tiny_embedders
from tests.api.conftest import in_memory
from tests.api.test_detokenize import problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN, OTHER = (f"/v1/collections/{name}" for name in ("own", "other"))
SPACE = {"dims": 4, "space_id": "other-model"}
V = [1, 0, 0, 0]
CLIPS = {name: sounds.encoded(sounds.clip(name), "flac") for name in sounds.CLIPS}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    store = tmp_path_factory.mktemp("store")
    async with in_memory(create_app(Settings(model_repository=repository, vector_store=store))) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def client(gateway: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """Two empty collections: for what is embedded, and for vectors of another model."""
    assert (await gateway.put(OWN, json={})).status_code == 200
    assert (await gateway.put(OTHER, json=SPACE)).status_code == 200
    yield gateway
    await gateway.delete(OWN)
    await gateway.delete(OTHER)


async def write(client: httpx.AsyncClient, collection: str, *items: dict[str, Any], **fields: Any) -> dict[str, int]:
    answer = await client.post(f"{collection}/items", json={"items": items, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def find(client: httpx.AsyncClient, collection: str, **query: Any) -> list[dict[str, Any]]:
    answer = await client.post(f"{collection}/search", json=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def test_collections_say_what_they_take_and_hold(client: httpx.AsyncClient) -> None:
    own = {"name": "own", "dims": tiny_embedders.DIMS, "distance": "cosine", "space_id": tiny_embedders.SPACE_ID}
    other = {"name": "other", "dims": 4, "distance": "cosine", "space_id": "other-model"}
    assert (await client.get("/v1/collections")).json() == {"collections": [other, own]}
    assert (await client.put(OWN, json={})).json() == own
    await write(client, OWN, {"id": "a", "text": "a dog barks"}, {"id": "b", "text": "rain on the roof"})
    assert (await client.get(OWN)).json() == own | {"items": 2, "windows": 2, "pending": 0}
    assert (await client.delete(OWN)).status_code == 204
    assert (await client.get(OWN)).status_code == 404


async def test_a_text_is_found_by_its_words_and_a_sound_by_itself(client: httpx.AsyncClient) -> None:
    await write(client, OWN, {"id": "dog", "text": "a dog barks"}, {"id": "rain", "text": "rain falls on the roof"})
    for name, clip in CLIPS.items():
        answer = await client.put(
            f"{OWN}/items/clips/{name}.flac",
            content=clip,
            headers={"Content-Type": "audio/flac"},
            params={"metadata": json.dumps({"seconds": 3, "kind": "clip"})},
        )
        assert answer.status_code == 200, answer.text
    best = (await find(client, OWN, text="a dog barks"))[0]
    assert best["id"] == "dog"
    assert best["score"] == pytest.approx(1, abs=1e-4)
    assert best["matches"] == [{"window": 0, "score": best["score"], "char_start": 0, "char_end": 11}]
    for name, clip in CLIPS.items():
        raw = await client.post(
            f"{OWN}/search",
            content=clip,
            headers={"Content-Type": "audio/flac"},
            params={"k": 1, "filter": '{"kind": "clip"}'},
        )
        encoded = await find(client, OWN, audio=base64.b64encode(clip).decode(), k=1)
        (found,) = raw.json()["results"]
        assert found["id"] == encoded[0]["id"] == f"clips/{name}.flac"
        assert found["metadata"] == {"seconds": 3, "kind": "clip"}
        assert {"window", "score", "start_s", "end_s"} == found["matches"][0].keys()


async def test_a_long_recording_is_found_where_it_matches(client: httpx.AsyncClient) -> None:
    silence, clip = np.zeros(16_000 * 26, np.float32), sounds.clip("vm-deleted")
    start = 16_000 * 16  # a window of 6.4 s begins every 3.2 s, so at 16 s too
    silence[start : start + len(clip)] = clip
    recording = sounds.encoded(silence, "flac")
    wrote = await client.put(f"{OWN}/items/long", content=recording, headers={"Content-Type": "audio/flac"})
    assert wrote.json() == {"items": 1, "windows": 8}
    (hit,) = await find(client, OWN, audio=base64.b64encode(CLIPS["vm-deleted"]).decode(), matches=1)
    (match,) = hit["matches"]
    assert match["start_s"] <= 16 < 16 + len(clip) / 16_000 <= match["end_s"] + 3.2


async def test_a_text_file_and_a_text_in_json_are_the_same(client: httpx.AsyncClient) -> None:
    text = "the wind slams a door " * 200
    wrote = await client.put(f"{OWN}/items/file", content=text, headers={"Content-Type": "text/plain; charset=utf-8"})
    await write(client, OWN, {"id": "json", "text": text})
    first, second = await find(client, OWN, text=text[:500], matches=16)
    assert {first["id"], second["id"]} == {"file", "json"}
    assert first["score"] == pytest.approx(second["score"], abs=1e-5)
    assert wrote.json()["windows"] == (await client.get(f"{OWN}/items/json")).json()["windows"] > 1


async def test_vectors_of_any_model_come_with_ranges_and_are_found_by_vector(client: httpx.AsyncClient) -> None:
    packed = base64.b64encode(np.array([0, 1, 0, 0], "<f4").tobytes()).decode()
    windows = [
        {"vector": [1, 0, 0, 0.1], "start_s": 0, "end_s": 5},
        {"vector": packed, "start_s": 5, "end_s": 9},
    ]
    wrote = await write(
        client, OTHER, {"id": "w", "windows": windows}, {"id": "v", "vector": [0, 0, 3, 0]}, space_id="other-model"
    )
    assert wrote == {"items": 2, "windows": 3}
    first, second = await find(client, OTHER, vector=[0, 1, 0.1, 0], space_id="other-model")
    assert (first["id"], second["id"]) == ("w", "v")
    assert (first["matches"][0]["start_s"], first["matches"][0]["end_s"]) == (5, 9)
    assert second["matches"][0].keys() == {"window", "score"}


async def test_a_collection_that_has_the_space_s_name_and_other_dimensions_takes_no_text(
    client: httpx.AsyncClient,
) -> None:
    await client.delete(OTHER)
    assert (await client.put(OTHER, json={"dims": 4, "space_id": tiny_embedders.SPACE_ID})).status_code == 200
    refused = await client.post(f"{OTHER}/items", json={"items": [{"id": "a", "text": "a dog"}]})
    assert problem(refused) == (409, "space-mismatch")
    assert "4 dimensions" in refused.json()["detail"]


async def test_items_are_read_replaced_and_deleted(client: httpx.AsyncClient) -> None:
    def item(name: str, **metadata: Any) -> dict[str, Any]:
        return {"id": name, "vector": [1, 2, 3, 4], "metadata": metadata}

    await write(client, OTHER, item("a/b", n=1), item("c", n=2), item("d", n=3), space_id="other-model")
    await write(client, OTHER, item("a/b", n=1.5, who="anna", ok=True), space_id="other-model")
    assert (await client.get(f"{OTHER}/items/a/b")).json() == {
        "id": "a/b",
        "metadata": {"n": 1.5, "who": "anna", "ok": True},
        "windows": 1,
    }
    assert (await client.post(f"{OTHER}/delete", json={"filter": {"n": {"$gt": 2.5}}})).json() == {"deleted": 1}
    assert (await client.post(f"{OTHER}/delete", json={"ids": ["a/b", "x"]})).json() == {"deleted": 1}
    assert problem(await client.get(f"{OTHER}/items/a/b")) == (404, "item-not-found")
    assert [hit["id"] for hit in await find(client, OTHER, vector=[1, 2, 3, 4], space_id="other-model")] == ["c"]


async def test_vectors_of_different_spaces_never_meet(client: httpx.AsyncClient) -> None:
    vector = {"vector": V}
    answers = [
        await client.put(OWN, json=SPACE),
        await client.put(OTHER, json={}),
        await client.put(OTHER, json=SPACE | {"distance": "dot"}),
        await client.post(f"{OTHER}/items", json={"items": [{"id": "a", **vector}], "space_id": "third"}),
        await client.post(f"{OTHER}/items", json={"items": [{"id": "a", "text": "a dog"}]}),
        await client.put(f"{OTHER}/items/a", content=CLIPS["vm-deleted"], headers={"Content-Type": "audio/flac"}),
        await client.post(f"{OTHER}/search", json={**vector, "space_id": "third"}),
        await client.post(f"{OTHER}/search", json={"text": "a dog"}),
        await client.post(f"{OTHER}/search", content=CLIPS["vm-deleted"], headers={"Content-Type": "audio/flac"}),
    ]
    assert [answer.status_code for answer in answers] == [409] * len(answers)
    slugs = [answer.json()["type"].rpartition(":")[2] for answer in answers]
    assert slugs == ["collection-exists"] * 3 + ["space-mismatch"] * 6
    assert (await client.get(OTHER)).json()["items"] == 0


async def test_bad_content_is_refused_as_where_it_is_embedded(client: httpx.AsyncClient) -> None:
    async def upsert(**content: str) -> httpx.Response:
        return await client.post(f"{OWN}/items", json={"items": [{"id": "a", **content}]})

    noise = base64.b64encode(np.random.default_rng(0).bytes(500)).decode()
    damaged = await upsert(audio="UklGR?")
    assert problem(damaged) == (400, "malformed-input")
    assert damaged.json()["errors"][0]["pointer"] == "/items/0"
    assert problem(await upsert(audio=noise)) == (415, "unsupported-media")
    raw = await client.put(f"{OWN}/items/a", content=b"\xff\xfe", headers={"Content-Type": "text/plain"})
    assert problem(raw) == (422, "invalid-input")
    query = {"metadata": "{"}
    raw = await client.put(f"{OWN}/items/a", content=b"a dog", headers={"Content-Type": "text/plain"}, params=query)
    assert problem(raw) == (400, "malformed-input")


async def test_the_documented_examples_work(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    routes = [
        ("put", "{name}", "new"),
        ("post", "{name}/items", "own"),
        ("post", "{name}/search", "own"),
        ("post", "{name}/delete", "own"),
    ]
    for method, path, name in routes:
        operation = paths[f"/v1/collections/{path}"][method]
        for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
            url = f"/v1/collections/{path}".format(name=name)
            answer = await client.request(method, url, json=example["value"])
            assert answer.status_code == 200, answer.text
            await client.delete("/v1/collections/new")
        assert "503" in operation["responses"]


async def test_the_capability_describes_itself(client: httpx.AsyncClient) -> None:
    described = (await client.get("/v1/models/collections")).json()
    assert described["engine"] == "qdrant-edge"
    assert described["space_id"] == tiny_embedders.SPACE_ID
    assert {"$eq", "$in", "$or"} <= set(described["operators"])


async def test_vectors_need_no_model_and_texts_do(tmp_path: Path) -> None:
    async with in_memory(create_app(Settings(model_repository=tmp_path, vector_store=tmp_path / "store"))) as client:
        assert (await client.put(OTHER, json=SPACE)).status_code == 200
        await write(client, OTHER, {"id": "a", "vector": V}, space_id="other-model")
        assert len(await find(client, OTHER, vector=V, space_id="other-model")) == 1
        refused = await client.put(OWN, json={})
        assert refused.status_code in (404, 503)
        assert (await client.get("/v1/models/collections")).json()["space_id"] is None


async def test_a_second_owner_of_the_store_is_told_so_and_serves_everything_else(
    client: httpx.AsyncClient, gateway: httpx.AsyncClient, repository: Path
) -> None:
    await client.get(OWN)  # it is open by now
    store = gateway._transport.app.state.runtime.settings.vector_store  # type: ignore[attr-defined]
    async with in_memory(create_app(Settings(model_repository=repository, vector_store=store))) as second:
        refused = await second.get("/v1/collections")
        assert problem(refused) == (503, "backend-unavailable")
        assert "Another process" in refused.json()["detail"]
        assert (await second.get("/readyz")).status_code == 200
    assert (await client.get(OWN)).status_code == 200
