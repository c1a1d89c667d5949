"""The acoustic scene: a room as arrays, from which every engine's own format is derived.

Axes are OpenCV's (x right, y down, z forward) in the frame of the first camera; lengths are metres, angles radians,
absorption is the random-incidence energy coefficient of ISO 354 in octave bands.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class NoRoom(ValueError):
    """What the maps show, or what is said of it, is no room."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a group of surfaces is made of, as it was predicted."""

    label: str  # of the named material that is nearest
    distance: float  # to it: root mean square over the bands of the difference of sqrt(absorption)
    confidence: float  # 0..1
    area_m2: float  # of all its surfaces
    absorption: Array  # [8] in [0, 1], octave bands 125 Hz to 16 kHz
    reflection: float  # [0, 1]: at most 1 - max(absorption)
    scattering: float  # [0, 1], ISO 17497-1
    impedance: complex  # normal specific, in units of rho c, broadband equivalent; real part >= 0


@dataclass(frozen=True, eq=False)
class Surface:
    """A flat part of the room, of one material."""

    material: int  # index into `AcousticScene.materials`
    plane: Array  # [4]: unit normal towards the inside of the room, and d, with normal . x + d = 0
    area_m2: float
    kind: str  # "floor", "ceiling", "wall" or "object"


@dataclass(frozen=True, eq=False)
class Camera:
    """Where a picture was taken from."""

    intrinsics: Array  # [3, 3] in pixels of the model's image
    world_from_camera: Array  # [4, 4]
    timestamp_s: float | None
    original_from_model: Array  # [3, 3]: pixels of the model's image to pixels of the picture as it was sent


@dataclass(frozen=True, eq=False)
class Room:
    """Values of the whole room; None where what was seen does not determine them."""

    volume_m3: float | None
    surface_m2: float | None
    dims_m: tuple[float, float, float] | None  # of the box around it: two horizontal extents, then the height
    up: Array  # [3] unit vector against gravity
    seen_area_fraction: float  # of the hull that some picture shows
    rt60_by_method_s: Mapping[str, Array]  # [8] each, NaN where a band does not decay; empty where not determined
    rt60_method: str  # "eyring", "sabine", "kuttruff", "raytrace": the one to go by
    air_absorption_per_m: Array  # [8] energy attenuation, ISO 9613-1
    metric: bool  # lengths are metres by the caller's word or by the model's training, else a guess
    scale_source: str  # "request", "model", "none"

    @property
    def rt60_s(self) -> Array | None:
        """[8] by the method to go by."""
        return self.rt60_by_method_s.get(self.rt60_method)


@dataclass(frozen=True, eq=False)
class AcousticScene:
    """Closed shell of the room and the objects in it.

    positions [V, 3] float32, triangles [T, 3] int32 counter-clockwise seen from inside the room, triangle_material [T]
    int32 into `materials`, triangle_surface [T] int32 into `surfaces`.
    """

    positions: Array
    triangles: NDArray[np.int32]
    triangle_material: NDArray[np.int32]
    triangle_surface: NDArray[np.int32]
    materials: tuple[Material, ...]
    surfaces: tuple[Surface, ...]
    cameras: tuple[Camera, ...]
    room: Room
    warnings: tuple[str, ...]

    def extent(self) -> Array:
        """[2, 3]: the lowest and highest corner."""
        return np.stack([self.positions.min(axis=0), self.positions.max(axis=0)]).astype(np.float32)
