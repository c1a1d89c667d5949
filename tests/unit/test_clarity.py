"""Clarity and distances in a diffuse field."""

import numpy as np
import pytest

from service.acoustics.clarity import (
    centre_time,
    clarity_db,
    critical_distance,
    critical_distance_from_rt60,
    definition,
    direct_to_reverberant_db,
)
from tests.physics import REFERENCE


@pytest.mark.parametrize("row", REFERENCE["diffuse"], ids=lambda row: str(row["rt60"]))
def test_an_exponential_decay_is_as_clear_as_in_the_reference(row: dict[str, float]) -> None:
    assert float(clarity_db(row["rt60"], 0.05)) == pytest.approx(row["c50_db"], abs=1e-6)
    assert float(clarity_db(row["rt60"], 0.08)) == pytest.approx(row["c80_db"], abs=1e-6)
    assert float(definition(row["rt60"])) == pytest.approx(row["d50"], abs=1e-9)
    assert float(centre_time(row["rt60"])) * 1e3 == pytest.approx(row["ts_ms"], abs=1e-6)


@pytest.mark.parametrize("row", REFERENCE["formulas"])
def test_critical_distance_is_that_of_the_reference(row: dict[str, float]) -> None:
    sabine = critical_distance(row["S"], row["alpha_mean"])
    assert float(sabine) == pytest.approx(row["critical_distance_m_sabine"], rel=1e-9)
    room_constant = critical_distance(row["S"], row["alpha_mean"], room_constant=True)
    assert float(room_constant) == pytest.approx(row["critical_distance_m_roomconst"], rel=1e-9)


def test_critical_distance_follows_from_the_reverberation_time() -> None:
    rt60 = REFERENCE["formulas"][0]["sabine"]
    expected = critical_distance(130, 0.05)
    np.testing.assert_allclose(critical_distance_from_rt60(100, rt60), expected, rtol=1e-9)
    assert float(critical_distance_from_rt60(100, 1.0)) == pytest.approx(0.57, abs=0.005)


def test_direct_sound_falls_by_six_decibels_per_doubling() -> None:
    np.testing.assert_allclose(direct_to_reverberant_db([0.5, 1, 2], 1.0), [6.0206, 0, -6.0206], atol=1e-4)


def test_extremes_are_numbers_and_unknown_times_stay_unknown() -> None:
    times = np.array([1e-6, 1e6, np.nan])
    for values in (clarity_db(times, 0.05), definition(times), centre_time(times)):
        np.testing.assert_array_equal(np.isfinite(values), [True, True, False])
    assert critical_distance(100, 1.0, room_constant=True) == np.inf
    assert critical_distance(100, 0.0) == 0


def test_what_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        clarity_db([1.0, 0.0], 0.05)
    with pytest.raises(ValueError, match="0 to 1"):
        critical_distance(100, 1.1)
