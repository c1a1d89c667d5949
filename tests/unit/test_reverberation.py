"""Reverberation formulas against reference numbers, pyroomacoustics, and what holds for every room."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyroomacoustics
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.acoustics import reverberation
from service.acoustics.air import SPEED_OF_SOUND_M_S, air_absorption
from service.acoustics.reverberation import (
    FORMULAS,
    arau,
    check_room,
    compute_rt60,
    eyring,
    fitzroy,
    kuttruff,
    mean_absorption,
    sabine,
)
from tests.physics import REFERENCE

Formula = Callable[..., np.ndarray]
AXES = [0, 0, 1, 1, 2, 2]
AIR = air_absorption()
TWO = AIR[[0, 7]]
ALL: dict[str, Formula] = {
    **FORMULAS,
    "fitzroy": lambda volume, areas, alpha, air=0.0: fitzroy(volume, areas, alpha, AXES, air),
    "arau": lambda volume, areas, alpha, air=0.0: arau(volume, areas, alpha, AXES, air),
}

boxes = st.tuples(*[st.floats(1, 30)] * 3)
absorptions = arrays(np.float64, (6, 2), elements=st.floats(0.001, 1))


def areas(dims: tuple[float, float, float]) -> np.ndarray:
    x, y, z = dims
    return np.array([y * z, y * z, x * z, x * z, x * y, x * y])


@pytest.mark.parametrize("row", REFERENCE["formulas"])
def test_a_given_volume_and_surface_have_the_times_of_the_reference(row: dict[str, Any]) -> None:
    for method in ("sabine", "eyring"):
        time = compute_rt60([row["alpha_mean"]], row["V"], row["S"], method, [row["m"]])
        np.testing.assert_allclose(time, row[method], rtol=1e-9)


@pytest.mark.parametrize("room", REFERENCE["boxes"], ids=lambda room: room["name"])
def test_boxes_have_the_times_of_the_reference(room: dict[str, Any]) -> None:
    walls, alpha = areas(room["dim_m"]), np.array(room["absorption"])[:, None]
    np.testing.assert_allclose(mean_absorption(walls, alpha), room["alpha_mean"], rtol=1e-12)
    for method in ("sabine", "eyring", "fitzroy", "arau"):
        np.testing.assert_allclose(ALL[method](room["V"], walls, alpha), room[method], rtol=1e-9)
    time = kuttruff(room["V"], walls, alpha, path_variance=room["path_variance"])
    np.testing.assert_allclose(time, room["kuttruff"], rtol=2e-4)  # the variance has three digits


@given(boxes, arrays(np.float64, 8, elements=st.floats(0.01, 0.95)))
def test_formulas_are_those_of_pyroomacoustics(dims: tuple[float, float, float], alpha: np.ndarray) -> None:
    volume, surface = float(np.prod(dims)), float(areas(dims).sum())
    expected = pyroomacoustics.rt60_sabine(surface, volume, alpha, AIR, SPEED_OF_SOUND_M_S)
    np.testing.assert_allclose(compute_rt60(alpha, volume, surface, "sabine", AIR), expected, rtol=1e-12)
    # Without air, which pyroomacoustics 0.10 subtracts in Eyring's formula
    expected = pyroomacoustics.rt60_eyring(surface, volume, alpha, 0, SPEED_OF_SOUND_M_S)
    np.testing.assert_allclose(compute_rt60(alpha, volume, surface, "eyring"), expected, rtol=1e-12)


@given(dims=boxes, alpha=absorptions, wall=st.integers(0, 5), more=st.floats(0, 1))
def test_what_absorbs_more_is_never_longer(
    dims: tuple[float, float, float], alpha: np.ndarray, wall: int, more: float
) -> None:
    volume, walls = float(np.prod(dims)), areas(dims)
    damped = alpha.copy()
    damped[wall] += more * (1 - damped[wall])
    for formula in ALL.values():
        time = formula(volume, walls, alpha, TWO)
        assert np.isfinite(time).all()
        assert (time > 0).all()
        assert (time <= formula(volume, walls, alpha) * (1 + 1e-12)).all()
        assert (formula(volume, walls, damped, TWO) <= time * (1 + 1e-12)).all()


@given(dims=boxes, alpha=absorptions)
def test_time_grows_with_the_size_of_the_room(dims: tuple[float, float, float], alpha: np.ndarray) -> None:
    volume, walls = float(np.prod(dims)), areas(dims)
    for formula in ALL.values():
        np.testing.assert_allclose(formula(8 * volume, 4 * walls, alpha), 2 * formula(volume, walls, alpha), rtol=1e-9)


@given(dims=boxes, alpha=absorptions, order=st.permutations(range(6)))
def test_the_order_of_surfaces_means_nothing(
    dims: tuple[float, float, float], alpha: np.ndarray, order: list[int]
) -> None:
    volume, walls, axes = float(np.prod(dims)), areas(dims), np.array(AXES)
    for formula in FORMULAS.values():
        permuted = formula(volume, walls[order], alpha[order], TWO)
        np.testing.assert_allclose(permuted, formula(volume, walls, alpha, TWO), rtol=1e-9)
    for by_axis in (fitzroy, arau):
        permuted = by_axis(volume, walls[order], alpha[order], axes[order], TWO)
        np.testing.assert_allclose(permuted, by_axis(volume, walls, alpha, axes, TWO), rtol=1e-9)


@given(dims=boxes, alpha=absorptions)
def test_eyring_is_never_longer_than_sabine(dims: tuple[float, float, float], alpha: np.ndarray) -> None:
    volume, walls = float(np.prod(dims)), areas(dims)
    assert (eyring(volume, walls, alpha) <= sabine(volume, walls, alpha) * (1 + 1e-12)).all()
    assert (kuttruff(volume, walls, alpha) >= eyring(volume, walls, alpha) * (1 - 1e-12)).all()


def test_eyring_tends_to_sabine_in_live_rooms_and_to_zero_in_dead_ones() -> None:
    def ratio(alpha: float) -> float:
        return float(eyring(90, [126], [[alpha]])[0] / sabine(90, [126], [[alpha]])[0])

    assert ratio(1e-6) == pytest.approx(1, abs=1e-6)
    assert ratio(0.05) == pytest.approx(0.9748, abs=3e-4)
    assert ratio(0.5) == pytest.approx(0.7213, abs=1e-4)
    assert ratio(1) < 0.08


@pytest.mark.parametrize("name", ALL)
def test_all_or_nothing_absorbed_is_a_time_or_none(name: str) -> None:
    walls = areas((6, 5, 3))
    assert np.isfinite(ALL[name](90, walls, np.ones((6, 8)))).all()
    assert np.isnan(ALL[name](90, walls, np.zeros((6, 8)))).all()
    in_air = ALL[name](90, walls, np.zeros((6, 8)), AIR)
    np.testing.assert_allclose(in_air, 6 * np.log(10) / (SPEED_OF_SOUND_M_S * AIR), rtol=1e-9)


def test_surfaces_of_no_area_change_nothing() -> None:
    alone = eyring(90, [126], [[0.2]])
    np.testing.assert_array_equal(eyring(90, [126, 0], [[0.2], [1.0]]), alone)
    np.testing.assert_allclose(arau(90, [126, 0], [[0.2], [1.0]], [0, 1]), alone)


def test_no_body_has_less_surface_than_a_sphere() -> None:
    radius = 2.0
    volume, surface = 4 / 3 * np.pi * radius**3, 4 * np.pi * radius**2
    note = check_room(volume, surface)
    assert note is not None
    assert "no box" in note
    with pytest.raises(ValueError, match=r"33\.5103 m3 have a surface of at least 50\.3 m2 \(a sphere\), not 50 m2"):
        check_room(volume, 50.0)
    with pytest.raises(ValueError, match=r"at least 104\.2 m2"):
        compute_rt60(np.full(8, 0.2), 100.0, 100.0)


def test_a_box_has_at_least_the_surface_of_a_cube() -> None:
    assert check_room(100, 120) == "no box of 100 m3 has less surface than 129.3 m2 (a cube): 120 m2 given"
    assert check_room(27, 54) is None
    assert check_room(90, 126) is None


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_rooms_have_a_size(value: float) -> None:
    for room in ((value, 126.0), (90.0, value)):
        with pytest.raises(ValueError, match=r"positive and finite|at least"):
            check_room(*room)
    with pytest.raises(ValueError, match="volume of a room is positive and finite"):
        sabine(value, [126], [[0.2]])


@pytest.mark.parametrize(
    ("surfaces", "absorption", "air", "message"),
    [
        ([126], [[1.1]], 0, "absorption lies in 0 to 1"),
        ([126], [[float("nan")]], 0, "absorption lies in 0 to 1"),
        ([-1, 127], [[0.1], [0.1]], 0, "areas"),
        ([0], [[0.1]], 0, "areas"),
        ([float("inf")], [[0.1]], 0, "areas"),
        ([126], [0.1], 0, r"areas \[N\] go with absorption \[N, bands\]"),
        ([60, 66], [[0.1]], 0, r"\(2,\) with \(1, 1\)"),
        ([126], [[0.1]], -1, "attenuation of air"),
    ],
)
def test_numbers_that_describe_no_room_are_refused(
    surfaces: list[float], absorption: list[Any], air: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sabine(90, surfaces, absorption, air)


def test_unknown_formulas_and_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="no formula is called 'millington'; there are sabine, eyring, kuttruff"):
        compute_rt60([0.2], 90, 126, "millington")
    with pytest.raises(ValueError, match="axis: 0, 1 or 2"):
        reverberation.fitzroy(90, [126], [[0.2]], [3])
