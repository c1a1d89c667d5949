"""Finding a plane along its normal among noise, outliers and other things."""

import numpy as np
import pytest

from service.acoustics.planes import MAX_NOISE, Spread, capped, outermost, settle, weighted_median


def cloud(sigma: float, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A wall at 4 seen from 1 to 4 m off, a cupboard's front before it at 3.2, a few outliers far behind."""
    reach = np.concatenate([chance.uniform(1, 4, 600), chance.uniform(1, 3, 250), np.full(20, 9.0)])
    at = np.concatenate([np.full(600, 4.0), np.full(250, 3.2), np.full(20, 12.0)])
    return at + sigma * reach * chance.standard_normal(870), np.ones(870), reach


@pytest.mark.parametrize(("sigma", "error"), [(0, 1e-9), (0.02, 0.01), (0.05, 0.03)])
def test_a_wall_is_found_behind_furniture_before_outliers(sigma: float, error: float) -> None:
    along, weights, reach = cloud(sigma, np.random.default_rng(3))
    (start,) = outermost(along, weights, 0.1, [0.1 * weights.sum()])
    assert start is not None
    offset, spread = settle(along, weights, reach, start, Spread(max(sigma, 0.002), 0.01), 0.2)
    assert offset == pytest.approx(4, abs=error)
    assert spread.noise == pytest.approx(max(sigma, 0.002), rel=0.35)


def test_noise_is_never_taken_for_more_than_it_can_be() -> None:
    chance = np.random.default_rng(4)
    spread = settle(chance.uniform(0, 10, 500), np.ones(500), np.full(500, 3.0), 5, Spread(0.01, 0.01), 0.2)[1]
    assert spread.noise <= MAX_NOISE
    assert spread.slack <= 0.1


def test_nothing_is_outermost_where_nothing_is_dense() -> None:
    assert outermost(np.arange(10.0), np.ones(10), 0.4, [1, 2]) == [9, None]


def test_nothing_near_leaves_the_plane_where_it_was() -> None:
    assert settle(np.array([9.0]), np.ones(1), np.ones(1), 2.0, Spread(0.01, 0.01), 0.1) == (2.0, Spread(0.01, 0.01))


def test_tolerance_grows_with_the_distance_and_has_a_floor() -> None:
    np.testing.assert_allclose(Spread(0.02, 0.01).tolerance(np.array([0.1, 1.0, 10.0])), [0.03, 0.06, 0.6])


@pytest.mark.parametrize(
    ("values", "weights", "expected"),
    [([3, 1, 2], [1, 1, 1], 2), ([1, 2], [1, 1], 1.5), ([1, 2, 9], [1, 1, 5], 9), ([7], [2], 7)],
)
def test_weighted_median_halves_the_weight(values: list[float], weights: list[float], expected: float) -> None:
    assert weighted_median(np.array(values, float), np.array(weights, float)) == expected


def test_far_surfaces_do_not_outweigh_the_room() -> None:
    assert capped(np.array([1.0, 1, 1, 2, 50])).tolist() == [1, 1, 1, 2, 3]
    assert capped(np.zeros(0)).size == 0
