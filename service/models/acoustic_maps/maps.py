"""Dense maps: which there are, and how they are coded so that what physics forbids stays impossible when decoded.

float32 is the model's own; float16 rounds, and clips to what it holds. In uint8, values in [0, 1] become
q = round(255 sqrt(a)) and are read as (q / 255)^2, which keeps small coefficients, on which a live room's reverberation
depends, as exact relative to themselves as large ones; the other maps are float16 there.

Rounding may move absorption up. Reflection is rounded down from what the decoded absorption leaves of it, so that
absorption + reflection <= 1 holds in every band of what a client reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.acoustics.validity import encode_reflection, encode_sqrt, lowered_reflection
from service.tensors import Tensors

DType = Literal["float32", "float16", "uint8"]
MapName = Literal[
    "absorption",
    "reflection",
    "scattering",
    "impedance",
    "acoustic_conf",
    "depth_map",
    "depth_conf",
    "world_points",
    "world_points_conf",
]

MAX_FLOAT16 = 65504.0
_FLOATS: Mapping[DType, type[np.floating]] = {"float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class Map:
    """One output of the model with a value, or several, for each pixel."""

    axes: str
    description: str
    fraction: bool = False  # values are in [0, 1]
    length: bool = False  # values grow with the scale of the scene


MAPS: Mapping[str, Map] = {
    "absorption": Map("S H W band", "random-incidence energy coefficient (ISO 354)", fraction=True),
    "reflection": Map("S H W 1", "energy; at most 1 - the largest absorption", fraction=True),
    "scattering": Map("S H W 1", "scattered share of the reflected energy (ISO 17497-1)", fraction=True),
    "impedance": Map("S H W re,im", "normal specific, in units of rho c"),
    "acoustic_conf": Map("S H W", "confidence in the four above", fraction=True),
    "depth_map": Map("S H W 1", "along the optical axis, in metres", length=True),
    "depth_conf": Map("S H W", "confidence, from 1 on"),
    "world_points": Map("S H W x,y,z", "OpenCV axes of the first camera, in metres", length=True),
    "world_points_conf": Map("S H W", "confidence, from 1 on"),
}
DEFAULT: tuple[MapName, ...] = (
    *("absorption", "reflection", "scattering", "impedance"),
    *("acoustic_conf", "depth_map", "depth_conf"),
)


def max_error(name: str, dtype: DType) -> str:
    """How far a decoded value a' is from the value a, as a formula."""
    if dtype == "float32":
        return "0"
    if dtype == "float16" or not MAPS[name].fraction:
        return "2^-11 |a| + 2^-25" if name != "reflection" else "2^-10"
    return "sqrt(a)/255 + 1/(4 255^2)" if name != "reflection" else "(2 sqrt(a) + 1)/255 + 1/(4 255^2)"


def encode_maps(maps: Tensors, dtype: DType) -> Tensors:
    """Maps as MAPS describes them -> the same in `dtype`; reflection is limited in float32 as well."""
    coded = {name: _encode(array, name, dtype) for name, array in maps.items() if name != "reflection"}
    if "reflection" in maps:
        reflection = np.clip(maps["reflection"], 0, 1)
        absorption = coded.get("absorption", np.zeros((1, 1, 1, 8), np.uint8))
        coded["reflection"] = (
            encode_reflection(reflection, absorption)
            if dtype == "uint8"
            else lowered_reflection(reflection, absorption, _FLOATS[dtype])
        )
    return {name: coded[name] for name in maps}


def _encode(array: NDArray[np.float32], name: str, dtype: DType) -> NDArray[Any]:
    if dtype == "float32":
        return array
    if dtype == "uint8" and MAPS[name].fraction:
        return encode_sqrt(np.clip(array, 0, 1))
    return np.clip(array, -MAX_FLOAT16, MAX_FLOAT16).astype(np.float16)
