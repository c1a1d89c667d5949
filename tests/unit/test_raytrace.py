"""Decay followed by particles: against an independent simulation, theory, and pyroomacoustics."""

from typing import Any

import numpy as np
import pytest

from service.acoustics.air import SPEED_OF_SOUND_M_S, air_absorption
from service.acoustics.decay import EDT_DB, decay_time
from service.acoustics.polyhedron import box
from service.acoustics.raytrace import Decay, trace
from service.acoustics.reverberation import eyring, kuttruff
from tests.physics import REFERENCE

DIMS = (6, 5, 3)
ROOM = box(DIMS)
AREAS = [15, 15, 18, 18, 30, 30]
AIR = air_absorption()
BOXES = {
    tuple(dims): [r for r in REFERENCE["boxes"] if tuple(r["dim_m"]) == tuple(dims)]
    for dims in ([6, 5, 3], [10, 8, 3], [20, 15, 8])
}


def uniform(absorption: Any, scattering: float, **options: Any) -> Decay:
    """The room of 6 x 5 x 3 m with the same walls everywhere."""
    walls = np.broadcast_to(np.asarray(absorption, np.float64), (6, 8))
    return trace(ROOM, walls, np.full(6, scattering), **options)


@pytest.mark.parametrize("scattering", ["0.05", "0.1", "0.3", "0.5", "1.0"])
@pytest.mark.parametrize("dims", BOXES, ids=str)
def test_decay_is_that_of_an_independent_simulation(dims: tuple[int, int, int], scattering: str) -> None:
    """Rooms of one size stand in for bands: all of them share the paths."""
    rooms, smooth = BOXES[dims], float(scattering) < 0.3
    absorption = np.array([room["absorption"] for room in rooms]).T
    decay = trace(box(dims), absorption, np.full(6, float(scattering)), particles=40_000 if smooth else 20_000)
    expected = [room["monte_carlo"][scattering] for room in rooms]
    tolerance = 0.04 if smooth else 0.02
    np.testing.assert_allclose(decay.rt60(), [row["T30"] for row in expected], rtol=tolerance)
    edt = decay_time(decay.level_db, decay.step_s, EDT_DB)
    np.testing.assert_allclose(edt, [row["EDT"] for row in expected], rtol=tolerance)


def test_rough_rooms_decay_as_kuttruff_says() -> None:
    absorption = np.array([0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45])
    np.testing.assert_allclose(uniform(absorption, 1.0).rt60(), kuttruff(90, [126], absorption[None]), rtol=0.02)


def test_air_takes_its_share_of_every_path() -> None:
    absorption = np.full(8, 0.2)
    expected = kuttruff(90, [126], absorption[None], AIR)
    np.testing.assert_allclose(uniform(absorption, 1.0, air_per_m=AIR).rt60(), expected, rtol=0.02)


def test_bands_do_not_disturb_each_other() -> None:
    together = uniform([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9], 0.3, particles=10_000).rt60()
    assert (np.diff(together) < 0).all()
    alone = trace(ROOM, np.full((6, 1), 0.2), np.full(6, 0.3), particles=10_000).rt60()
    np.testing.assert_allclose(together[2], alone[0], rtol=0.01)


def test_a_seed_gives_one_result() -> None:
    first, again, other = (uniform(0.3, 0.1, particles=2000, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.level_db, again.level_db)
    assert first.level_db.shape != other.level_db.shape or (first.level_db != other.level_db).any()


def test_time_grows_with_the_size_of_the_room_wherever_it_stands() -> None:
    walls, scattering = np.linspace(0.05, 0.5, 6)[:, None], np.full(6, 0.3)
    small = trace(ROOM, walls, scattering).rt60()
    planes = box((12, 10, 6))
    planes[:, 3] -= planes[:, :3] @ [40.0, -7.0, 3.0]
    np.testing.assert_allclose(trace(planes, walls, scattering).rt60(), 2 * small, rtol=0.01)


def test_turned_rooms_decay_alike() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    planes = np.column_stack([ROOM[:, :3] @ turn, ROOM[:, 3]])
    walls, scattering = np.linspace(0.05, 0.5, 6)[:, None], np.full(6, 0.3)
    np.testing.assert_allclose(
        trace(planes, walls, scattering).rt60(), trace(ROOM, walls, scattering).rt60(), rtol=0.04
    )


def test_rooms_of_any_convex_shape_are_followed() -> None:
    """A cube whose corners are cut off: rounder, so with more volume for its surface."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 3**0.5
    cube = box((4, 4, 4))
    cube[:, 3] = 2
    planes = np.concatenate([cube, np.column_stack([-corners, np.full(8, 2.6)])])
    cut = 2 * 3**0.5 - 2.6  # height of the pyramid that each corner loses; its three edges are sqrt(3) times that
    volume = 64 - 8 * (3**0.5 * cut) ** 3 / 6
    surface = 96 - 8 * 3 * (3**0.5 * cut) ** 2 / 2 + 8 * 3**0.5 / 4 * (6**0.5 * cut) ** 2
    time = trace(planes, np.full((14, 1), 0.2), np.ones(14), particles=10_000).rt60()
    np.testing.assert_allclose(time, kuttruff(volume, [surface], [[0.2]], path_variance=0.3), rtol=0.02)
    assert time > trace(cube, np.full((6, 1), 0.2), np.ones(6), particles=10_000).rt60()


def test_nothing_absorbed_is_no_time_and_everything_a_short_one() -> None:
    absorption = [0, 0, 1, 1, 1e-4, 0.001, 0.01, 0.5]
    air = [0, 1e-3, 0, 0.1, 0, 0, 0, 0]
    decay = uniform(absorption, 0.5, air_per_m=air)
    times = decay.rt60()
    np.testing.assert_array_equal(np.isnan(times), [True] + 7 * [False])
    assert not np.isnan(decay.level_db).any()
    assert decay.level_db.shape[1] < 100_000
    assert times[1] == pytest.approx(6 * np.log(10) / (SPEED_OF_SOUND_M_S * 1e-3), rel=0.01)
    assert (times[2:4] < 0.05).all()
    # rooms too live to be followed for 35 dB
    np.testing.assert_allclose(times[4:7], eyring(90, [126], [absorption[4:7]]), rtol=0.02)


def test_air_alone_ends_the_highest_band_of_a_room_as_large_as_a_town() -> None:
    absorption = np.full((6, 8), 0.3)
    decay = trace(box((1000, 1000, 1000)), absorption, np.full(6, 0.5), AIR, particles=2_000)
    expected = eyring(1e9, np.full(6, 1e6), absorption, AIR)
    np.testing.assert_allclose(decay.rt60()[-3:], expected[-3:], rtol=0.03)


def test_a_long_duct_is_followed_in_little_memory() -> None:
    """Along it, particles fly ten thousand times as far from wall to wall as across."""
    decay = trace(box((1000, 0.1, 0.1)), np.full((6, 1), 0.1), np.full(6, 0.5), particles=2_000)
    assert decay.level_db.size < 1 << 16
    across = trace(box((10, 0.1, 0.1)), np.full((6, 1), 0.1), np.full(6, 0.5), particles=2_000)
    np.testing.assert_allclose(decay.rt60(), across.rt60(), rtol=0.1)


def test_a_single_particle_still_gives_a_decay() -> None:
    level = uniform(0.2, 0.3, particles=1).level_db
    assert (level[:, 0] == 0).all()
    assert (level[:, 1:] <= level[:, :-1]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"planes": ROOM[:5]}, "leave the room open"),
        ({"absorption": np.full((5, 1), 0.1)}, r"absorption is \[planes, bands\]"),
        ({"absorption": np.full(6, 0.1)}, r"absorption is \[planes, bands\]"),
        ({"absorption": np.full((6, 1), 1.1)}, "absorption lies in 0 to 1"),
        ({"scattering": np.full(6, np.nan)}, "scattering lies in 0 to 1"),
        ({"air_per_m": -1.0}, "attenuation of air"),
        ({"particles": 0}, "1 to 100000 particles"),
        ({"particles": 10**9}, "1 to 100000 particles"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    room = {"planes": ROOM, "absorption": np.full((6, 1), 0.1), "scattering": np.full(6, 0.1)}
    with pytest.raises(ValueError, match=message):
        trace(**{**room, **changes})
