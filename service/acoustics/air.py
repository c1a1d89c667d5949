"""Absorption of sound by air, ISO 9613-1."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.acoustics.bands import BANDS_HZ

TEMPERATURE_C = (-20.0, 50.0)  # what the standard covers
HUMIDITY_PCT = (0.0, 100.0)
PRESSURE_KPA = (10.0, 200.0)

SPEED_OF_SOUND_M_S = 343.0  # at 20 C; every formula of this package uses it

_DB_PER_NEPER = 10 / np.log(10)  # of energy


def air_absorption(
    temperature_c: float = 20.0,
    humidity_pct: float = 50.0,
    pressure_kpa: float = 101.325,
    frequencies_hz: ArrayLike = BANDS_HZ,
) -> NDArray[np.float64]:
    """The energy attenuation m in 1 / metre at each frequency: energy falls as exp(-m x).

    ISO 9613-1:1993, equations 3 to 5 and B.2, B.3, whose result in dB/m is 4.343 m. Humidity is relative. Raises
    ValueError outside of TEMPERATURE_C, HUMIDITY_PCT and PRESSURE_KPA.
    """
    for name, value, (low, high), unit in (
        ("temperature", temperature_c, TEMPERATURE_C, "C"),
        ("relative humidity", humidity_pct, HUMIDITY_PCT, "%"),
        ("pressure", pressure_kpa, PRESSURE_KPA, "kPa"),
    ):
        if not low <= value <= high:
            raise ValueError(f"the air's {name} is {low:g} to {high:g} {unit}, not {value:g} {unit}")
    kelvin, square = temperature_c + 273.15, np.asarray(frequencies_hz, np.float64) ** 2
    heat, pressure = kelvin / 293.15, pressure_kpa / 101.325
    saturation = 10 ** (-6.8346 * (273.16 / kelvin) ** 1.261 + 4.6151)
    vapour = humidity_pct * saturation / pressure  # molar concentration in percent
    oxygen = pressure * (24 + 4.04e4 * vapour * (0.02 + vapour) / (0.391 + vapour))  # relaxation frequencies, Hz
    nitrogen = pressure * heat**-0.5 * (9 + 280 * vapour * np.exp(-4.170 * (heat ** (-1 / 3) - 1)))
    classical = 1.84e-11 / pressure * heat**0.5
    relaxation = 0.01275 * np.exp(-2239.1 / kelvin) / (oxygen + square / oxygen)
    relaxation = relaxation + 0.1068 * np.exp(-3352.0 / kelvin) / (nitrogen + square / nitrogen)
    return np.asarray(8.686 * square * (classical + heat**-2.5 * relaxation) / _DB_PER_NEPER)
