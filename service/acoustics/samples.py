"""Maps to samples: a few thousand points of the room with what is known of the surface at each.

All geometry works on these and not on pixels: it is as exact and many times as fast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from service.acoustics.geometry import Array, Cameras, Mask, lengths, normals

MAX_SAMPLES = 10_000
MAX_SAMPLES_OF_VIEW = 2_500  # more tell no more of the room, which few views leave unknown
BANDS = 8
# columns of `Samples.properties`
ABSORPTION = slice(0, BANDS)
REFLECTION, SCATTERING, RESISTANCE, REACTANCE, CONFIDENCE = range(BANDS, BANDS + 5)
PROPERTIES = BANDS + 5

_MIN_DEPTH, _MAX_DEPTH = 1e-4, 1e5
_MAX_IMPEDANCE = 1e6  # of rho c: what a coefficient of 4e-6 has
_CLEAN = 0.005  # noise of the depth below which the smallest window gives good normals, and sharp edges
_GRAZING = 0.1  # cosine of the slant beyond which the area of a sample is no longer believed
_MAPS = {  # name -> channels
    "depth_map": 1,
    "depth_conf": None,
    "absorption": BANDS,
    "reflection": 1,
    "scattering": 1,
    "impedance": 2,
    "acoustic_conf": None,
}


@dataclass(frozen=True, eq=False)
class Samples:
    """Points of surfaces, in the world's frame."""

    points: Array  # [N, 3]
    normals: Array  # [N, 3] unit, towards the camera
    rays: Array  # [N, 3] unit, from the camera
    ranges: Array  # [N] distance from the camera
    faces: Array  # [N] area of the sample if it faced the camera
    views: NDArray[np.intp]  # [N]
    weights: Array  # [N] in (0, 1]: confidence in the depth
    properties: Array  # [N, 13]: absorption 8, reflection, scattering, impedance re and im, confidence
    noise: float  # standard deviation of the depth, relative to it, between neighbours

    def __len__(self) -> int:
        return len(self.points)

    def areas(self, normals: Array) -> Array:
        """[N]: area of surface behind each sample if its normal is that of `normals` [N, 3]."""
        return np.asarray(self.faces / np.maximum(np.abs(np.einsum("ij,ij->i", self.rays, normals)), _GRAZING))

    def select(self, rows: NDArray[Any]) -> "Samples":
        return Samples(
            self.points[rows],
            self.normals[rows],
            self.rays[rows],
            self.ranges[rows],
            self.faces[rows],
            self.views[rows],
            self.weights[rows],
            self.properties[rows],
            self.noise,
        )


def check(maps: Mapping[str, NDArray[Any]]) -> tuple[int, int]:
    """(H, W). Raises ValueError naming the map that is missing or has another shape than the rest."""
    for name in (*_MAPS, "pose_enc", "pose_conf"):
        if name not in maps:
            raise ValueError(f"the map {name!r} is missing")
    depth = np.shape(maps["depth_map"])
    if len(depth) != 4 or 0 in depth:
        raise ValueError(f"'depth_map' has shape {list(depth)}, expected [S, H, W, 1] with none of them 0")
    views, height, width = depth[:3]
    for name, channels in _MAPS.items():
        expected = (views, height, width) if channels is None else (views, height, width, channels)
        if np.shape(maps[name]) != expected:
            raise ValueError(f"{name!r} has shape {list(np.shape(maps[name]))}, expected {list(expected)}")
    if np.shape(maps["pose_enc"]) != (views, 9):
        raise ValueError(f"'pose_enc' has shape {list(np.shape(maps['pose_enc']))}, expected {[views, 9]}")
    if np.shape(maps["pose_conf"]) != (views,):
        raise ValueError(f"'pose_conf' has shape {list(np.shape(maps['pose_conf']))}, expected {[views]}")
    return height, width


def sample(maps: Mapping[str, NDArray[Any]], cameras: Cameras, views: Sequence[int]) -> Samples:
    """Samples of the maps of `views`, the rest left out; `cameras` are of all views.

    A sample stands for a square block of pixels and is its middle one. Pixels whose depth or surface is not a number
    are left out.
    """
    chosen = np.asarray(views, np.intp)
    cameras = cameras.select(chosen)
    height, width = maps["depth_map"].shape[1:3]
    wanted = min(MAX_SAMPLES_OF_VIEW, MAX_SAMPLES / len(chosen))
    stride = max(1, int(np.ceil(np.sqrt(height * width / wanted))))
    stride = min(stride, height, width)
    # the middle pixel of each block: neighbours would mix both sides of an edge
    rows, columns = (slice((side % stride + stride) // 2, side, stride) for side in (height, width))
    shown = {name: np.asarray(maps[name])[:, rows, columns][chosen] for name in _MAPS}
    disparity = _disparity(shown["depth_map"][..., 0].astype(np.float64))
    rays = cameras.rays(np.arange(height)[rows], np.arange(width)[columns])
    noise = _noise(disparity)
    normal = normals(disparity, rays, 3 if noise < _CLEAN else 5)
    properties, known = _properties(shown)
    kept = np.flatnonzero(known & (disparity > 0))

    length = lengths(rays)
    depth = 1 / np.where(disparity > 0, disparity, 1)
    focal = (cameras.intrinsics[:, 0, 0] * cameras.intrinsics[:, 1, 1])[:, None, None]
    direction = cameras.to_world(rays / length[..., None])
    points = direction * (depth * length)[..., None] + cameras.centers[:, None, None]
    return Samples(
        points.reshape(-1, 3).take(kept, axis=0),
        cameras.to_world(normal).reshape(-1, 3).take(kept, axis=0),
        direction.reshape(-1, 3).take(kept, axis=0),
        (depth * length).take(kept),
        (depth**2 * stride**2 / (focal * length)).take(kept),
        kept // depth[0].size,
        _weights(shown["depth_conf"].take(kept).astype(np.float64)),
        properties.reshape(-1, PROPERTIES).take(kept, axis=0),
        noise,
    )


def sums_by_key(keys: NDArray[np.intp], count: int, weights: Array, values: Array) -> Array:
    """[count, C]: sums of the rows of values [N, C], times their weights [N], that have the same key [N]."""
    starts = np.arange(len(keys) + 1)
    return np.asarray(sparse.csc_array((weights, keys, starts), shape=(count, len(keys))) @ values)


def _disparity(depth: Array) -> Array:
    """1 / depth; 0 where it is not known."""
    with np.errstate(invalid="ignore"):
        known = (depth > _MIN_DEPTH) & (depth < _MAX_DEPTH)
    return np.where(known, 1 / np.where(known, depth, 1), 0)


def _properties(maps: Mapping[str, NDArray[Any]]) -> tuple[Array, Mask]:
    """[S, h, w, 13] within their physical ranges, and [S, h, w] where they are numbers."""
    parts = [maps[name] for name in ("absorption", "reflection", "scattering", "impedance")]
    properties = np.concatenate([*parts, maps["acoustic_conf"][..., None]], axis=-1, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        known = np.isfinite(properties @ np.ones(PROPERTIES))  # a sum is, if all of it is
    properties[~known] = 0
    reactance = properties[..., REACTANCE].clip(-_MAX_IMPEDANCE, _MAX_IMPEDANCE)
    resistance = properties[..., RESISTANCE].clip(0, _MAX_IMPEDANCE)
    np.clip(properties, 0, 1, out=properties)
    properties[..., RESISTANCE], properties[..., REACTANCE] = resistance, reactance
    return properties, known


def _weights(confidence: Array) -> Array:
    """Confidences >= 1 of the depth head, as weights: half of the samples or more have weight 1."""
    above = np.where(np.isfinite(confidence), np.maximum(confidence - 1, 0), 0)
    middle = float(np.median(above)) if above.size else 0.0
    return np.maximum(above / middle, 0.05).clip(max=1) if middle > 0 else np.ones_like(above)


def _noise(disparity: Array) -> float:
    """Relative standard deviation by second differences along the rows, which vanish on a plane."""
    if disparity.shape[2] < 3:
        return 0.0
    left, middle, right = disparity[:, :, :-2], disparity[:, :, 1:-1], disparity[:, :, 2:]
    known = (left > 0) & (middle > 0) & (right > 0)
    if not known.any():
        return 0.0
    bend = np.abs(left - 2 * middle + right)[known] / middle[known]
    return float(1.4826 * np.median(bend) / np.sqrt(6))
