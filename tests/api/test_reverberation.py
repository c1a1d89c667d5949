"""POST /v1/reverberation: from absorption and areas to how a room rings."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.settings import Settings
from tests.api.conftest import in_memory
from tests.api.test_detokenize import problem

ROUTE = "/v1/reverberation"
WALLS = ("left", "right", "front", "back", "floor", "ceiling")
# 6 x 5 x 3 m, walls 0.08, floor 0.3, ceiling 0.05
LIVING = {
    "dimensions_m": [6, 5, 3],
    "surfaces": [
        {"wall": wall, "absorption": {"floor": 0.3, "ceiling": 0.05}.get(wall, 0.08), "scattering": 0.05}
        for wall in WALLS
    ],
    "air": None,
}


def times(body: dict[str, Any]) -> dict[str, list[float]]:
    return {result["method"]: result["rt60_s"] for result in body["results"]}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway without any model: rooms need none."""
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        yield client


@pytest.mark.parametrize(
    ("volume_m3", "area_m2", "absorption", "sabine", "eyring"),
    [(100, 130, 0.2, 0.6197, 0.5554), (100, 130, 0.05, 2.4787, 2.4162), (200, 210, 0.15, 1.0229, 0.9441)],
)
async def test_a_volume_and_an_area_ring_as_the_formulas_say(
    client: httpx.AsyncClient, volume_m3: float, area_m2: float, absorption: float, sabine: float, eyring: float
) -> None:
    room = {"volume_m3": volume_m3, "surfaces": [{"area_m2": area_m2, "absorption": absorption}], "air": None}
    answer = await client.post(ROUTE, json=room)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(times(body)) == ["sabine", "eyring", "kuttruff"]
    np.testing.assert_allclose(times(body)["sabine"], sabine, atol=1e-4)
    np.testing.assert_allclose(times(body)["eyring"], eyring, atol=1e-4)
    assert body["air"] is None
    assert body["mean_absorption"] == pytest.approx([absorption] * 8)
    assert body["absorption_area_m2"] == pytest.approx([absorption * area_m2] * 8)
    assert body["critical_distance_m"] == pytest.approx([(absorption * area_m2 / (16 * np.pi)) ** 0.5] * 8, abs=1e-3)


async def test_each_band_has_its_own_absorption_and_air_takes_the_highest(client: httpx.AsyncClient) -> None:
    bands = [0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.227, 0.227]
    room = {"volume_m3": 90, "surfaces": [{"area_m2": 126, "absorption": bands}], "methods": ["eyring"]}
    dry = (await client.post(ROUTE, json=room | {"air": None})).json()
    damp = (await client.post(ROUTE, json=room)).json()
    np.testing.assert_allclose(times(dry)["eyring"][:6], [1.092, 1.092, 0.516, 0.516, 0.225, 0.225], atol=1e-3)
    assert times(dry)["eyring"][7] == pytest.approx(0.447, abs=2e-3)
    assert times(damp)["eyring"][7] == pytest.approx(0.231, abs=2e-3)
    assert (damp["air"]["temperature_c"], damp["air"]["humidity_pct"]) == (20, 50)
    assert damp["air"]["attenuation_per_m"][7] == pytest.approx(8.39e-2, rel=1e-2)
    warm = (await client.post(ROUTE, json=room | {"air": {"temperature_c": 30, "humidity_pct": 90}})).json()
    assert times(warm)["eyring"][7] > times(damp)["eyring"][7]


async def test_clarity_is_that_of_an_exponential_decay(client: httpx.AsyncClient) -> None:
    """A time of 1 s: C50 -0.02 dB, C80 3.05 dB, D50 0.499, Ts 72.4 ms."""
    surface = 24 * np.log(10) / 343 * 100 / 0.12
    room = {
        "volume_m3": 100,
        "surfaces": [{"area_m2": surface, "absorption": 0.12}],
        "air": None,
        "methods": ["sabine"],
    }
    (result,) = (await client.post(ROUTE, json=room)).json()["results"]
    assert result["rt60_s"] == pytest.approx([1] * 8, abs=1e-3)
    assert result["c50_db"] == pytest.approx([-0.02] * 8, abs=0.01)
    assert result["c80_db"] == pytest.approx([3.05] * 8, abs=0.01)
    assert result["d50"] == pytest.approx([0.499] * 8, abs=1e-3)
    assert result["ts_s"] == pytest.approx([0.0724] * 8, abs=1e-4)


async def test_a_box_has_the_formulas_of_its_walls_and_ray_tracing(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, json=LIVING | {"methods": ["sabine", "eyring", "fitzroy", "arau", "raytrace"]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["volume_m3"], body["surface_m2"]) == (90, 126)
    found = {method: values[3] for method, values in times(body).items()}
    assert list(found) == ["sabine", "eyring", "fitzroy", "arau", "raytrace"]
    assert found["sabine"] == pytest.approx(0.919, abs=1e-3)
    assert found["eyring"] == pytest.approx(0.860, abs=1e-3)
    assert found["fitzroy"] == pytest.approx(1.008, abs=1e-3)
    assert found["arau"] == pytest.approx(0.927, abs=1e-3)
    assert found["raytrace"] == pytest.approx(1.206, rel=0.04)  # of an independent Monte Carlo simulation


async def test_by_default_a_box_has_every_formula_and_no_ray_tracing(client: httpx.AsyncClient) -> None:
    body = (await client.post(ROUTE, json={"dimensions_m": [6, 5, 3], "surfaces": [{"absorption": 0.1}]})).json()
    assert list(times(body)) == ["sabine", "eyring", "kuttruff", "fitzroy", "arau"]
    np.testing.assert_allclose(times(body)["arau"], times(body)["eyring"], rtol=1e-6)


async def test_the_same_seed_traces_the_same_rays(client: httpx.AsyncClient) -> None:
    room = LIVING | {"methods": ["raytrace"], "particles": 2000}
    answers = [(await client.post(ROUTE, json=room | {"seed": seed})).json() for seed in (1, 1, 2)]
    assert times(answers[0]) == times(answers[1])
    assert times(answers[0]) != times(answers[2])
    np.testing.assert_allclose(times(answers[0])["raytrace"], times(answers[2])["raytrace"], rtol=0.15)


async def test_a_wall_may_have_several_surfaces_and_the_last_takes_the_rest(client: httpx.AsyncClient) -> None:
    def room(*back: dict[str, Any]) -> dict[str, Any]:
        others = [surface for surface in LIVING["surfaces"] if surface["wall"] != "back"]
        return LIVING | {"surfaces": [*others, *({"wall": "back", **surface} for surface in back)]}

    curtain = room({"area_m2": 6, "absorption": 0.5}, {"absorption": 0.2})
    mean = room({"absorption": 0.3})
    bodies = [(await client.post(ROUTE, json=request)).json() for request in (curtain, mean)]
    assert bodies[0]["surface_m2"] == pytest.approx(126)
    np.testing.assert_allclose(times(bodies[0])["arau"], times(bodies[1])["arau"], rtol=1e-6)
    refused = [
        room({"area_m2": 18, "absorption": 0.5}, {"absorption": 0.2}),
        room({"area_m2": 10, "absorption": 0.5}),
        room({"absorption": 0.5}, {"absorption": 0.2}),
        room(),
    ]
    for request, words in zip(
        refused, ("18 m2 and more", "have 10 m2 together", "may leave out", "no surface"), strict=True
    ):
        answer = await client.post(ROUTE, json=request)
        assert problem(answer) == (422, "invalid-input")
        assert words in answer.json()["detail"]


async def test_surfaces_of_a_box_without_walls_have_its_area(client: httpx.AsyncClient) -> None:
    box = {
        "dimensions_m": [6, 5, 3],
        "surfaces": [{"area_m2": 100, "absorption": 0.1}, {"area_m2": 26, "absorption": 0.3}],
    }
    assert list(times((await client.post(ROUTE, json=box)).json())) == ["sabine", "eyring", "kuttruff"]
    box["surfaces"][1]["area_m2"] = 20
    answer = await client.post(ROUTE, json=box)
    assert problem(answer) == (422, "invalid-input")
    assert "have 120 m2 together, but the box has 126 m2" in answer.json()["detail"]


async def test_a_volume_that_no_such_surface_encloses_is_refused_with_the_bound(client: httpx.AsyncClient) -> None:
    answer = await client.post(ROUTE, json={"volume_m3": 100, "surfaces": [{"area_m2": 100, "absorption": 0.1}]})
    assert problem(answer) == (422, "invalid-input")
    assert "at least 104.2 m2 (a sphere), not 100 m2" in answer.json()["detail"]


async def test_a_pair_that_no_box_has_is_warned_of(client: httpx.AsyncClient) -> None:
    body = (await client.post(ROUTE, json={"volume_m3": 100, "surfaces": [{"area_m2": 120, "absorption": 0.1}]})).json()
    assert any("129.3 m2 (a cube)" in warning for warning in body["warnings"])


async def test_a_room_that_never_falls_silent_has_no_time(client: httpx.AsyncClient) -> None:
    bands = [0, *[0.5] * 7]
    room = {"volume_m3": 100, "surfaces": [{"area_m2": 130, "absorption": bands}], "air": None}
    body = (await client.post(ROUTE, json=room)).json()
    for result in body["results"]:
        for name in ("rt60_s", "c50_db", "c80_db", "d50", "ts_s"):
            assert [value is None for value in result[name]] == [True] + [False] * 7, name
    assert body["critical_distance_m"][0] in (None, 0)
    assert any("125 Hz" in warning for warning in body["warnings"])


async def test_surfaces_that_take_everything_leave_numbers(client: httpx.AsyncClient) -> None:
    request = {"dimensions_m": [6, 5, 3], "surfaces": [{"absorption": 1}], "methods": ["sabine", "eyring", "kuttruff"]}
    body = (await client.post(ROUTE, json=request)).json()
    assert times(body)["sabine"][0] == pytest.approx(0.115, abs=1e-3)
    assert 0 < times(body)["eyring"][0] < 0.02
    assert all(np.isfinite(values).all() for values in times(body).values())


@pytest.mark.parametrize(
    "change",
    [
        {"volume_m3": 100},
        {"dimensions_m": [6, 5]},
        {"dimensions_m": [6, 5, -3]},
        {"dimensions_m": [6, 5, 1e9]},
        {"dimensions_m": None},
        {"surfaces": []},
        {"surfaces": [{"absorption": 0.1}] * 1001},
        {"surfaces": [{"absorption": 1.2}]},
        {"surfaces": [{"absorption": [0.1] * 7}]},
        {"surfaces": [{"absorption": "lots"}]},
        {"surfaces": [{"absorption": 0.1, "scattering": 2}]},
        {"surfaces": [{"absorption": 0.1, "wall": "roof"}]},
        {"surfaces": [{"absorption": 0.1, "area_m2": 0}]},
        {"surfaces": [{"absorption": 0.1, "colour": "red"}]},
        {"surfaces": [*LIVING["surfaces"][:5], {"absorption": 0.1, "area_m2": 30}]},
        {"methods": []},
        {"methods": ["millington"]},
        {"methods": ["raytrace"], "particles": 10},
        {"methods": ["raytrace"], "particles": 10**9},
        {"air": {"temperature_c": 900}},
        {"what": 1},
    ],
)
async def test_a_room_that_is_none_is_refused(client: httpx.AsyncClient, change: dict[str, Any]) -> None:
    answer = await client.post(ROUTE, json=LIVING | change)
    assert problem(answer) == (422, "invalid-input"), answer.text
    assert "at position" not in answer.text


@pytest.mark.parametrize("method", ["fitzroy", "arau", "raytrace"])
async def test_methods_that_need_a_box_say_so(client: httpx.AsyncClient, method: str) -> None:
    room = {"volume_m3": 100, "surfaces": [{"area_m2": 130, "absorption": 0.1}], "methods": [method]}
    answer = await client.post(ROUTE, json=room)
    assert problem(answer) == (422, "invalid-input")
    assert answer.json()["detail"].startswith(f"{method}: only for a box (dimensions_m)")


async def test_it_is_listed_and_described_without_any_model(client: httpx.AsyncClient) -> None:
    entries = (await client.get("/v1/models")).json()["models"]
    assert {"served": True, "missing": []}.items() <= next(e for e in entries if e["name"] == "reverberation").items()
    description = (await client.get("/v1/models/reverberation")).json()
    assert description["methods"] == ["sabine", "eyring", "kuttruff", "fitzroy", "arau", "raytrace"]
    assert description["walls"] == list(WALLS)
    assert description["models"] == []


async def test_the_documented_examples_work(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"][ROUTE]["post"]
    assert {"400", "408", "413", "415", "422", "503"} <= set(operation["responses"])
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    assert set(examples) == {"surfaces", "box"}
    for example in examples.values():
        answer = await client.post(ROUTE, json=example["value"])
        assert answer.status_code == 200, answer.text
        assert all(all(values) for values in times(answer.json()).values())
    for parameter in operation["parameters"]:
        assert parameter["description"], parameter["name"]


async def test_ray_tracing_keeps_others_waiting_only_for_rays(tmp_path: Path) -> None:
    """With one thread for everything else, and with no more than one room to be traced at a time."""
    settings = Settings(model_repository=tmp_path, preprocess_workers=1, max_queued_slow_jobs=0)
    finished: list[tuple[str, int]] = []

    async def send(client: httpx.AsyncClient, method: str) -> None:
        answer = await client.post(ROUTE, json=LIVING | {"methods": [method]})
        finished.append((method, answer.status_code))

    async with in_memory(create_app(settings)) as client:
        await asyncio.gather(*(send(client, method) for method in ("raytrace", "raytrace", "eyring")))
    assert sorted(finished[:2]) == [("eyring", 200), ("raytrace", 503)]
    assert finished[2] == ("raytrace", 200)
