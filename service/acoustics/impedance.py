"""Specific impedance and absorption of a locally reacting wall, in both directions.

z = Z / (rho c) is complex, with the time convention e^(+j omega t): a positive imaginary part is mass, a negative one
spring. A passive wall has Re z >= 0. One z stands for one frequency; a single z for all bands is a broadband
equivalent, best read at 1 kHz.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Branch = Literal["hard", "soft"]

MAX_RANDOM_ABSORPTION = 0.951222
"""No locally reacting wall absorbs more of a diffuse field."""
IMPEDANCE_OF_MAX = 1.567
TOLERANCE = 0.1  # of absorption, within which an impedance agrees with it

_SERIES_BELOW = 0.2  # |z| where the closed form loses digits to cancellation
_RIGID = 1e100  # |z| from which nothing is absorbed
_HALVINGS = 60
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def normal_absorption(z: ArrayLike) -> Array:
    """[...] complex -> [...] in [0, 1]: 1 - |(z - 1) / (z + 1)|^2, at normal incidence (Kuttruff, section 2.2).

    Raises ValueError where Re z < 0 or z is not a number.
    """
    impedance, rigid = _passive(z)
    return np.where(rigid, 0, 4 * impedance.real / np.abs(impedance + 1) ** 2)


def random_absorption(z: ArrayLike) -> Array:
    """[...] complex -> [...] in [0, 0.951222]: in a diffuse field, by Paris' integral of alpha(theta) sin(2 theta).

    The closed form is that of Kuttruff, section 2.5. Raises ValueError where Re z < 0 or z is not a number.
    """
    impedance, rigid = _passive(z)
    x, y = impedance.real, impedance.imag
    square = x * x + y * y
    safe = np.where(square > 0, square, 1)
    ratio = y / (1 + x)
    small = np.abs(ratio) < 1e-4
    # atan(y / (1 + x)) / y, which has a limit where y vanishes
    angle = np.where(small, 1 - ratio**2 / 3, np.arctan(ratio) / np.where(small, 1, ratio)) / (1 + x)
    closed = 8 * x / safe * (1 - x / safe * np.log1p(2 * x + square) + (x * x - y * y) / safe * angle)
    cosine = (_NODES + 1) / 2
    weights = _WEIGHTS / 2 * cosine**2
    integral = sum(weight / (1 + 2 * x * c + square * c * c) for weight, c in zip(weights, cosine, strict=True))
    near = square < _SERIES_BELOW**2
    return np.where(rigid, 0, np.clip(np.where(near, 8 * x * integral, closed), 0, 1))


def impedance_from_normal(absorption: ArrayLike, branch: Branch = "hard") -> Array:
    """[...] in [0, 1] -> [...] real z: >= 1 where hard, <= 1 where soft; z and 1 / z absorb alike.

    Nothing absorbed is inf or 0. Raises ValueError for absorption out of range.
    """
    reflected = np.sqrt(1 - _coefficient(absorption))
    with np.errstate(divide="ignore"):
        hard = np.asarray((1 + reflected) / (1 - reflected))
    return hard if branch == "hard" else 1 / hard


def impedance_from_random(absorption: ArrayLike, branch: Branch = "hard") -> Array:
    """[...] in [0, 1] -> [...] real z, the inverse of `random_absorption`: >= 1.567 where hard, <= 1.567 where soft.

    Above MAX_RANDOM_ABSORPTION there is no such z, and that of the maximum is returned. Nothing absorbed is inf or 0.
    Raises ValueError for absorption out of range.
    """
    alpha = _coefficient(absorption)
    sought = np.clip(alpha, 1e-12, MAX_RANDOM_ABSORPTION)
    # alpha is at most 8 / z and at most 8 z / 3
    low, high = (IMPEDANCE_OF_MAX, 8 / sought) if branch == "hard" else (3 * sought / 8, IMPEDANCE_OF_MAX)
    low, high = np.log(np.broadcast_to(low, alpha.shape)), np.log(np.broadcast_to(high, alpha.shape))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rises = (random_absorption(np.exp(middle)) > sought) == (branch == "hard")
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    limit = np.inf if branch == "hard" else 0.0
    return np.where(alpha > 0, np.where(alpha >= MAX_RANDOM_ABSORPTION, IMPEDANCE_OF_MAX, np.exp(low)), limit)


def agrees(z: ArrayLike, absorption: ArrayLike) -> NDArray[np.bool_]:
    """[...] complex, [..., bands] -> [...]: whether a diffuse field loses to z what it loses to the mean over bands.

    Absorption alone does not determine z, so this is something to report, not to repair.
    """
    mean = np.asarray(absorption, np.float64).mean(axis=-1)
    return np.asarray(np.abs(random_absorption(z) - mean) <= TOLERANCE)


def _passive(z: ArrayLike) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """z with rigid walls put at 1, and where they are."""
    impedance = np.asarray(z, np.complex128)
    if not (impedance.real >= 0).all() or np.isnan(impedance.imag).any():
        raise ValueError("the impedance of a passive wall has a real part of at least 0")
    rigid = ~((np.abs(impedance.real) < _RIGID) & (np.abs(impedance.imag) < _RIGID))
    return np.where(rigid, 1, impedance), rigid


def _coefficient(absorption: ArrayLike) -> Array:
    alpha = np.asarray(absorption, np.float64)
    if not ((alpha >= 0) & (alpha <= 1)).all():
        raise ValueError("absorption lies in 0 to 1")
    return alpha
