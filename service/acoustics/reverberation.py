"""Reverberation time by the classical formulas.

Each takes the room's volume, areas [N] of its surfaces, their random-incidence absorption [N, bands], and air's energy
attenuation per metre [bands] (`air_absorption`), and returns [bands] seconds: NaN where neither surfaces nor air take
anything, as such a room never falls silent. Raises ValueError for numbers that describe no room.

Millington's formula is left out: one surface that absorbs everything makes its time zero, however small it is.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.acoustics.air import SPEED_OF_SOUND_M_S

Array = NDArray[np.float64]

SABINE_S_PER_M = 24 * np.log(10) / SPEED_OF_SOUND_M_S
"""0.161 s/m, Kuttruff, Room Acoustics, section 5.1."""
MAX_MEAN_ABSORPTION = 1 - 1e-6
PATH_VARIANCE = 0.36
"""Variance of free paths over the square of their mean: 0.34 in a cube, 0.36 to 0.41 in rooms (Kuttruff, table 5.1)."""

SPHERE = (36 * np.pi) ** (1 / 3)
"""The least surface of a volume of 1: 4.836."""
BOX = 6.0
"""The least surface of a box of volume 1, which is a cube."""


def check_room(volume_m3: float, surface_m2: float) -> str | None:
    """Raises ValueError where no body has this volume and surface; says so where one has, but no box.

    A sphere has the least surface for its volume, S = 4.836 V^(2/3), and among boxes a cube has, S = 6 V^(2/3).
    """
    for name, value, unit in (("volume", volume_m3, "m3"), ("surface", surface_m2, "m2")):
        if not 0 < value < np.inf:
            raise ValueError(f"the {name} of a room is positive and finite, not {value:g} {unit}")
    face = volume_m3 ** (2 / 3)
    if surface_m2 < SPHERE * face * (1 - 1e-9):
        raise ValueError(
            f"{volume_m3:g} m3 have a surface of at least {SPHERE * face:.1f} m2 (a sphere), not {surface_m2:g} m2"
        )
    if surface_m2 < BOX * face * (1 - 1e-9):
        return f"no box of {volume_m3:g} m3 has less surface than {BOX * face:.1f} m2 (a cube): {surface_m2:g} m2 given"
    return None


def mean_absorption(areas_m2: ArrayLike, absorption: ArrayLike) -> Array:
    """[N], [N, bands] -> [bands]: weighted by area, in [0, 1]."""
    areas, values = _surfaces(areas_m2, absorption)
    return np.asarray(np.minimum(areas @ values / areas.sum(), 1))


def sabine(volume_m3: float, areas_m2: ArrayLike, absorption: ArrayLike, air_per_m: ArrayLike = 0.0) -> Array:
    """T = 0.161 V / (A + 4 m V), A = sum of S alpha; right for rooms that absorb little (Kuttruff, section 5.1)."""
    mean = mean_absorption(areas_m2, absorption)
    return _time(volume_m3, np.sum(areas_m2) * mean, air_per_m)


def eyring(volume_m3: float, areas_m2: ArrayLike, absorption: ArrayLike, air_per_m: ArrayLike = 0.0) -> Array:
    """T = 0.161 V / (-S ln(1 - mean alpha) + 4 m V) (Eyring 1930): for a diffuse field, whatever is absorbed."""
    mean = mean_absorption(areas_m2, absorption)
    return _time(volume_m3, np.sum(areas_m2) * _exponent(mean), air_per_m)


def kuttruff(
    volume_m3: float,
    areas_m2: ArrayLike,
    absorption: ArrayLike,
    air_per_m: ArrayLike = 0.0,
    *,
    path_variance: float = PATH_VARIANCE,
) -> Array:
    """Eyring's formula with paths of unlike length (Kuttruff, section 5.4): the exponent a = -ln(1 - mean alpha)
    becomes a (1 - a path_variance / 2).

    That is the start of a series. Where it would turn, at a = 1 / path_variance, it is held.
    """
    exponent = np.minimum(_exponent(mean_absorption(areas_m2, absorption)), 1 / path_variance)
    return _time(volume_m3, np.sum(areas_m2) * exponent * (1 - exponent * path_variance / 2), air_per_m)


def fitzroy(
    volume_m3: float, areas_m2: ArrayLike, absorption: ArrayLike, axes: ArrayLike, air_per_m: ArrayLike = 0.0
) -> Array:
    """The mean of Eyring's times of the walls of each axis, weighted by their areas (Fitzroy 1959).

    axes [N]: 0, 1 or 2, the direction that a surface faces most. For boxes with unlike pairs of smooth walls.
    """
    times, shares = _by_axis(volume_m3, areas_m2, absorption, axes, air_per_m)
    return np.asarray(shares @ times)


def arau(
    volume_m3: float, areas_m2: ArrayLike, absorption: ArrayLike, axes: ArrayLike, air_per_m: ArrayLike = 0.0
) -> Array:
    """As `fitzroy`, with the geometric mean (Arau-Puchades 1988)."""
    times, shares = _by_axis(volume_m3, areas_m2, absorption, axes, air_per_m)
    return np.asarray(np.exp(shares @ np.log(times)))


FORMULAS: Mapping[str, Callable[[float, ArrayLike, ArrayLike, ArrayLike], Array]] = MappingProxyType(
    {"sabine": sabine, "eyring": eyring, "kuttruff": kuttruff}
)
"""Those that need to know nothing about where the surfaces are."""


def compute_rt60(
    absorption: ArrayLike,
    room_volume: float,
    surface_area: float,
    method: str = "sabine",
    air_per_m: ArrayLike = 0.0,
) -> Array:
    """[bands] seconds of a room with a mean absorption [bands], a volume in m3 and a surface in m2.

    `method` is one of FORMULAS. Raises ValueError for another one, and for a volume that cannot have that surface.
    """
    if method not in FORMULAS:
        raise ValueError(f"no formula is called {method!r}; there are {', '.join(FORMULAS)}")
    check_room(room_volume, surface_area)
    return FORMULAS[method](room_volume, [surface_area], np.asarray(absorption)[None], air_per_m)


def _surfaces(areas_m2: ArrayLike, absorption: ArrayLike) -> tuple[Array, Array]:
    areas, values = np.asarray(areas_m2, np.float64), np.asarray(absorption, np.float64)
    if areas.ndim != 1 or values.ndim != 2 or len(areas) != len(values):
        raise ValueError(f"areas [N] go with absorption [N, bands], not {areas.shape} with {values.shape}")
    if not ((areas >= 0) & np.isfinite(areas)).all() or areas.sum() <= 0:
        raise ValueError("areas are finite, none is negative, and one is positive")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("absorption lies in 0 to 1")
    return areas, values


def _exponent(mean: Array) -> Array:
    return -np.log1p(-np.minimum(mean, MAX_MEAN_ABSORPTION))


def _time(volume_m3: float, absorbing_m2: Array, air_per_m: ArrayLike) -> Array:
    air = np.asarray(air_per_m, np.float64)
    if not 0 < volume_m3 < np.inf:
        raise ValueError(f"the volume of a room is positive and finite, not {volume_m3:g} m3")
    if not ((air >= 0) & np.isfinite(air)).all():
        raise ValueError("the attenuation of air is finite and not negative")
    loss = absorbing_m2 + 4 * air * volume_m3
    return np.asarray(SABINE_S_PER_M * volume_m3 / np.where(loss > 0, loss, np.nan))


def _by_axis(
    volume_m3: float, areas_m2: ArrayLike, absorption: ArrayLike, axes: ArrayLike, air_per_m: ArrayLike
) -> tuple[Array, Array]:
    """Times [3 or fewer, bands] of a room lined with the walls of one axis only, and their shares of the surface."""
    (areas, values), axis = _surfaces(areas_m2, absorption), np.asarray(axes)
    if axis.shape != areas.shape or not np.isin(axis, (0, 1, 2)).all():
        raise ValueError("each surface has an axis: 0, 1 or 2")
    parts = [axis == number for number in range(3) if areas[axis == number].sum() > 0]
    shares = np.array([areas[part].sum() for part in parts]) / areas.sum()
    means = np.array([mean_absorption(areas[part], values[part]) for part in parts])
    times = [_time(volume_m3, areas.sum() * _exponent(mean), air_per_m) for mean in means]
    return np.array(times), shares
