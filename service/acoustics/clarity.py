"""What a diffuse field's reverberation time says about clarity and distance: sound that decays as one exponential.

Its early decay time is its reverberation time. Formulas are those of ISO 3382-1 for the energy exp(-13.8 t / T); NaN
where the time is, and ValueError for one that is not positive.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.acoustics.reverberation import SABINE_S_PER_M

Array = NDArray[np.float64]

_DECAY = 6 * np.log(10)  # nepers of energy in 60 dB: 13.8


def clarity_db(rt60_s: ArrayLike, early_s: float) -> Array:
    """Ratio in dB of the energy before and after `early_s`: C50 with 0.05, C80 with 0.08."""
    exponent = _DECAY * early_s / _positive(rt60_s)
    # ln(e^x - 1) without overflow
    return np.asarray(10 / np.log(10) * (exponent + np.log(-np.expm1(-exponent))))


def definition(rt60_s: ArrayLike, early_s: float = 0.05) -> Array:
    """Share of the energy before `early_s`: D50."""
    return np.asarray(-np.expm1(-_DECAY * early_s / _positive(rt60_s)))


def centre_time(rt60_s: ArrayLike) -> Array:
    """Ts in seconds: the mean delay of the energy."""
    return np.asarray(_positive(rt60_s) / _DECAY)


def critical_distance(surface_m2: ArrayLike, mean_absorption: ArrayLike, *, room_constant: bool = False) -> Array:
    """Metres from an omnidirectional source at which direct and reverberant sound are equally strong.

    sqrt(A / 16 pi) with the absorption area A = S alpha of Sabine, or with the room constant A / (1 - alpha), which
    leaves the first reflection's loss to the direct sound (Kuttruff, section 5.5). inf where the latter absorbs all.
    """
    alpha = np.asarray(mean_absorption, np.float64)
    if not ((alpha >= 0) & (alpha <= 1)).all():
        raise ValueError("absorption lies in 0 to 1")
    area = _positive(surface_m2) * alpha
    with np.errstate(divide="ignore"):
        return np.sqrt((area / (1 - alpha) if room_constant else area) / (16 * np.pi))


def critical_distance_from_rt60(volume_m3: ArrayLike, rt60_s: ArrayLike) -> Array:
    """The same from Sabine's absorption area 0.161 V / T: 0.057 sqrt(V / T) metres."""
    return np.asarray(np.sqrt(SABINE_S_PER_M * _positive(volume_m3) / _positive(rt60_s) / (16 * np.pi)))


def direct_to_reverberant_db(distance_m: ArrayLike, critical_distance_m: ArrayLike) -> Array:
    """20 lg(critical distance / distance), of an omnidirectional source."""
    return np.asarray(20 * np.log10(_positive(critical_distance_m) / _positive(distance_m)))


def _positive(values: ArrayLike) -> Array:
    array = np.asarray(values, np.float64)
    if (array <= 0).any():
        raise ValueError("times, lengths, areas and volumes are positive")
    return array
