"""Absorption of sound by air."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.acoustics.air import air_absorption
from tests.physics import REFERENCE


@pytest.mark.parametrize("row", REFERENCE["air"])
def test_air_absorbs_as_in_the_standard(row: dict[str, Any]) -> None:
    per_m = air_absorption(row["temperature_c"], row["humidity_pct"])
    np.testing.assert_allclose(per_m, row["m_energy_per_m"], rtol=1e-3)
    # the table has three decimals of dB per kilometre
    np.testing.assert_allclose(per_m * 10 / np.log(10) * 1000, row["dB_per_km"], rtol=1e-3, atol=5e-4)


@given(
    temperature=st.floats(-20, 50),
    humidity=st.floats(0, 100),
    pressure=st.floats(10, 200),
    frequency=st.floats(20, 2e4),
)
def test_higher_sounds_are_absorbed_more_in_any_air(
    temperature: float, humidity: float, pressure: float, frequency: float
) -> None:
    low, high = air_absorption(temperature, humidity, pressure, [frequency, 1.1 * frequency])
    assert 0 < low < high < 2


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"temperature_c": 50.1}, "the air's temperature is -20 to 50 C, not 50.1 C"),
        ({"temperature_c": float("nan")}, "temperature"),
        ({"humidity_pct": -1.0}, "relative humidity is 0 to 100 %, not -1 %"),
        ({"pressure_kpa": 1013.25}, "pressure is 10 to 200 kPa, not 1013.25 kPa"),
    ],
)
def test_air_that_the_standard_does_not_cover_is_refused(conditions: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        air_absorption(**conditions)
