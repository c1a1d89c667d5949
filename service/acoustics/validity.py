"""What acoustic maps may contain, projection to it, and codings that stay within.

Energy is conserved in every band: reflection <= 1 - max(absorption). Everything lies in 0 to 1 and the impedance is
that of a passive wall. A coding rounds reflection downwards, to what the rounded absorption leaves.
"""

from dataclasses import dataclass, fields
from math import isqrt

import numpy as np
from numpy.typing import NDArray

MAX_FLOAT16_IMPEDANCE = 6e4  # of either part; float16 ends at 65,504

_ROUNDING = 1e-6
_LEVELS = 255
_CODE_ROUNDING = 1e-4  # of a code
_DECODED = ((np.arange(256) / _LEVELS) ** 2).astype(np.float32)
_LEFT = np.array([isqrt(_LEVELS**2 - code**2) for code in range(256)], np.uint8)
"""The largest code whose value, with that of a code, is at most 1."""


@dataclass(frozen=True, eq=False)
class AcousticMaps:
    """Per pixel, leading axes alike: absorption [..., 8], reflection [..., 1], scattering [..., 1], impedance [..., 2].

    Impedance is (Re, Im) in units of rho c. float32 as computed, or float16.
    """

    absorption: NDArray[np.floating]
    reflection: NDArray[np.floating]
    scattering: NDArray[np.floating]
    impedance: NDArray[np.floating]


@dataclass(frozen=True)
class Violations:
    """How many pixels break a rule; one may break several."""

    not_finite: int
    absorption: int  # outside 0 to 1
    reflection: int
    scattering: int
    energy: int  # absorption and reflection exceed 1 in some band
    impedance: int  # Re < 0
    pixels: int  # that break any rule


def inspect(maps: AcousticMaps) -> Violations:
    """Counts what `project` would move by more than rounding."""
    arrays = [getattr(maps, field.name) for field in fields(maps)]
    absorption, reflection, scattering, impedance = (np.where(np.isfinite(array), array, 0) for array in arrays)
    rules = [
        ~np.all([np.isfinite(array).all(axis=-1) for array in arrays], axis=0),
        *(((values < 0) | (values > 1)).any(axis=-1) for values in (absorption, reflection, scattering)),
        absorption.max(axis=-1) + reflection[..., 0] > 1 + _ROUNDING,
        impedance[..., 0] < 0,
    ]
    return Violations(*(int(rule.sum()) for rule in (*rules, np.any(rules, axis=0))))


def project(maps: AcousticMaps) -> tuple[AcousticMaps, Violations]:
    """The maps in float32, moved to where they break no rule, and how many pixels broke one.

    Absorption stays and reflection is lowered to what it leaves. A value that is not finite becomes 0, an impedance 1.
    """
    impedance = _finite(maps.impedance)
    impedance[~np.isfinite(maps.impedance).all(axis=-1)] = 1, 0
    impedance[..., 0] = np.maximum(impedance[..., 0], 0)
    absorption, reflection, scattering = (
        np.clip(_finite(values), 0, 1) for values in (maps.absorption, maps.reflection, maps.scattering)
    )
    moved = AcousticMaps(absorption, lowered_reflection(reflection, absorption, np.float32), scattering, impedance)
    return moved, inspect(maps)


def to_float16(maps: AcousticMaps) -> AcousticMaps:
    """Projected maps in float16: 0.05 % of each value; reflection is at most what the rounded absorption leaves.

    Either part of an impedance is cut at MAX_FLOAT16_IMPEDANCE.
    """
    absorption = maps.absorption.astype(np.float16)
    impedance = np.clip(maps.impedance, -MAX_FLOAT16_IMPEDANCE, MAX_FLOAT16_IMPEDANCE).astype(np.float16)
    reflection = lowered_reflection(maps.reflection, absorption, np.float16)
    return AcousticMaps(absorption, reflection, maps.scattering.astype(np.float16), impedance)


def encode_sqrt(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """[...] in [0, 1] -> codes round(255 sqrt(value)): fine where values are small, as reverberation asks for.

    Decoded values are off by at most `sqrt_error`: 4 % at 0.01, where a linear code would be off by 18 %.
    """
    return np.asarray(np.rint(_LEVELS * np.sqrt(values, dtype=np.float32)), np.uint8)


def encode_reflection(reflection: NDArray[np.floating], absorption: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[..., 1] in [0, 1], with absorption [..., 8] as encoded -> the same kind of codes [..., 1], rounded down.

    Decoded, it exceeds neither 1 - max(absorption) as decoded nor itself, and is lower than it was by at most
    (2 sqrt(reflection) + sqrt(max(absorption))) / 255 + 1 / (4 * 255^2).
    """
    # A code that was decoded comes back as itself, though its value was rounded.
    codes = np.floor(_LEVELS * np.sqrt(reflection, dtype=np.float32) + _CODE_ROUNDING).astype(np.uint8)
    return np.asarray(np.minimum(codes, _LEFT[absorption.max(axis=-1, keepdims=True)]))


def decode_sqrt(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(code / 255)^2."""
    return _DECODED[codes]


def sqrt_error(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """The most that `encode_sqrt` moves a value: sqrt(value) / 255 + 1 / (4 * 255^2), at most 0.0039."""
    return np.asarray(np.sqrt(values) / _LEVELS + 1 / (4 * _LEVELS**2), np.float64)


def lowered_reflection(
    reflection: NDArray[np.floating], absorption: NDArray[np.floating], dtype: type[np.floating]
) -> NDArray[np.floating]:
    """Reflection [..., 1] rounded to dtype, and never above what absorption [..., 8] leaves."""
    limit = 1 - absorption.max(axis=-1, keepdims=True).astype(np.float64)
    rounded = np.minimum(reflection, limit).astype(dtype)
    return np.asarray(np.where(rounded > limit, np.nextafter(rounded, dtype(0)), rounded))


def _finite(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.where(np.isfinite(values), values, 0).astype(np.float32)
