"""POST /v1/reverberation with maps as its body, and with bodies that are neither."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors.numpy import save as save_safetensors

from service.app import create_app
from service.settings import Settings
from tests.api.conftest import in_memory
from tests.api.test_detokenize import problem
from tests.api.test_reverberation import LIVING, ROUTE, times

MAPS = {"absorption": np.full((2, 4, 6, 8), 0.25, np.float32), "area": np.ones((2, 4, 6), np.float32)}
QUERY = "volume_m3=90&surface_m2=126"


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without any model: rooms need none."""
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        yield client


@pytest.mark.parametrize("form", ["npz", "safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
async def test_maps_are_rooms_of_their_mean_weighted_by_area(client: httpx.AsyncClient, form: str, dtype: str) -> None:
    absorption = np.full((2, 4, 6, 8), 0.1)
    absorption[0, :2] = 0.5
    area = np.ones((2, 4, 6), np.float32)
    area[0, :2] = 3
    coded = np.round(255 * np.sqrt(absorption)) if dtype == "uint8" else absorption
    maps = {"absorption": coded.astype(dtype), "area": area}
    content = npz(**maps) if form == "npz" else save_safetensors(maps)
    answer = await client.post(
        f"{ROUTE}?{QUERY}", content=content, headers={"Content-Type": "application/octet-stream"}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    mean = (36 * 0.5 + 36 * 0.1) / 72
    assert body["mean_absorption"] == pytest.approx([mean] * 8, rel=0.01)
    assert (body["volume_m3"], body["surface_m2"], body["warnings"]) == (90, 126, [])
    request = {"volume_m3": 90, "surfaces": [{"area_m2": 126, "absorption": mean}]}
    expected = times((await client.post(ROUTE, json=request)).json())
    for method, values in times(body).items():
        np.testing.assert_allclose(values, expected[method], rtol=0.02)
    plain = await client.post(f"{ROUTE}?{QUERY}", content=npz(absorption=maps["absorption"]))
    assert plain.json()["mean_absorption"] == pytest.approx([0.2] * 8, rel=0.01)
    assert "counts alike" in plain.json()["warnings"][0]


async def test_the_query_chooses_methods_and_air_for_maps(client: httpx.AsyncClient) -> None:
    body = (await client.post(f"{ROUTE}?{QUERY}&methods=eyring,sabine&air=false", content=npz(**MAPS))).json()
    assert list(times(body)) == ["eyring", "sabine"]
    assert body["air"] is None
    dry = (await client.post(f"{ROUTE}?{QUERY}&temperature_c=10&humidity_pct=20", content=npz(**MAPS))).json()
    assert dry["air"]["humidity_pct"] == 20


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "volume_m3"),
        ("volume_m3=90", "surface_m2"),
        ("volume_m3=90&surface_m2=90", "97.1 m2"),
        ("volume_m3=-1&surface_m2=126", "volume_m3"),
        ("volume_m3=nan&surface_m2=126", "volume_m3"),
        (f"{QUERY}&methods=millington", "methods"),
        (f"{QUERY}&methods=arau", "only for a box"),
        (f"{QUERY}&temperature_c=900", "temperature_c"),
        (f"{QUERY}&what=1", "what"),
    ],
)
async def test_a_wrong_query_is_named(client: httpx.AsyncClient, query: str, words: str) -> None:
    answer = await client.post(f"{ROUTE}?{query}", content=npz(**MAPS))
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert words in answer.text


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ({"area": MAPS["area"]}, "no array named absorption"),
        ({"absorption": MAPS["absorption"][..., :7]}, "shape [2, 4, 6, 7]"),
        ({"absorption": np.float32(0.5)}, "shape []"),
        ({"absorption": MAPS["absorption"][:0]}, "shape [0, 4, 6, 8]"),
        ({"absorption": MAPS["absorption"].astype(np.int32)}, "int32"),
        ({"absorption": 5 * MAPS["absorption"]}, "0 to 1"),
        ({"absorption": MAPS["absorption"] * np.nan}, "0 to 1"),
        (MAPS | {"area": MAPS["area"][:1]}, "area has shape [1, 4, 6]"),
        (MAPS | {"area": -MAPS["area"]}, "not negative"),
        (MAPS | {"area": 0 * MAPS["area"]}, "zero everywhere"),
    ],
)
async def test_maps_that_are_none_are_refused(
    client: httpx.AsyncClient, maps: dict[str, np.ndarray], words: str
) -> None:
    answer = await client.post(f"{ROUTE}?{QUERY}", content=npz(**maps))
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert words in answer.json()["detail"]


async def test_an_archive_that_unpacks_to_more_than_is_read_is_refused(client: httpx.AsyncClient) -> None:
    buffer = io.BytesIO()
    archive = zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
    with archive, archive.open("absorption.npy", "w") as member:
        for _ in range(513):
            member.write(bytes(1 << 20))
    assert len(buffer.getvalue()) < 4 << 20
    answer = await client.post(f"{ROUTE}?{QUERY}", content=buffer.getvalue())
    assert problem(answer) == (413, "payload-too-large")


async def test_the_query_is_not_for_json(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{ROUTE}?volume_m3=90", json=LIVING)
    assert problem(answer) == (422, "invalid-input")
    assert "The query is for maps" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "slug"),
    [
        (b"", "application/json", 400, "malformed-input"),
        (b'{"surfaces": [', "application/json", 400, "malformed-input"),
        (b"PK\x03\x04" + bytes(100), "application/x-npz", 400, "malformed-input"),
        (npz(**MAPS)[:-400], "", 400, "malformed-input"),
        (save_safetensors(MAPS)[:-40], "application/vnd.safetensors", 400, "malformed-input"),
        (b"hello", "", 415, "unsupported-media"),
        (b"<room/>", "text/xml", 415, "unsupported-media"),
        (b" " * (1 << 20) + b"{}", "application/json", 413, "payload-too-large"),
    ],
)
async def test_a_hostile_body_is_a_clear_refusal(
    client: httpx.AsyncClient, content: bytes, content_type: str, status: int, slug: str
) -> None:
    answer = await client.post(f"{ROUTE}?{QUERY}", content=content, headers={"Content-Type": content_type})
    assert problem(answer) == (status, slug), answer.text
