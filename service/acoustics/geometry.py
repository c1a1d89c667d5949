"""Cameras, points, normals and areas from depth maps.

Axes are OpenCV's: x right, y down, z forward. A camera takes a point X of the world to R X + t, and a point (x, y, z)
of its own frame to the pixel (fx x / z + cx, fy y / z + cy); pixel (0, 0) is the middle of the first one.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MIN_FOV, _MAX_FOV = np.deg2rad(2), np.deg2rad(175)
_GRAZING = 0.05  # cosine below which the area of a pixel is no longer believed


@dataclass(frozen=True, eq=False)
class Cameras:
    """intrinsics [S, 3, 3] in pixels, rotation [S, 3, 3] and translation [S, 3]: camera from world."""

    intrinsics: Array
    rotation: Array
    translation: Array

    @classmethod
    def decode(cls, pose_enc: NDArray[np.floating], height: int, width: int) -> tuple[Self, Mask]:
        """pose_enc [S, 9]: translation, quaternion (x, y, z, w; any length), vertical and horizontal field of view.

        Returns the cameras, and [S] which of them are usable: finite, with a rotation and with a field of view
        between 2 and 175 degrees. An unusable one is put at the origin with a field of view of 90 degrees.
        """
        pose = np.array(pose_enc, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            square = (pose[:, 3:7] ** 2).sum(axis=1)
        usable = np.isfinite(pose).all(axis=1) & (np.abs(pose[:, :3]) < 1e6).all(axis=1) & (square > 1e-12)
        usable &= (square < 1e12) & ((pose[:, 7:9] > _MIN_FOV) & (pose[:, 7:9] < _MAX_FOV)).all(axis=1)
        pose[~usable] = [0, 0, 0, 0, 0, 0, 1, np.pi / 2, np.pi / 2]
        intrinsics = np.zeros((len(pose), 3, 3))
        intrinsics[:, 0, 0] = width / 2 / np.tan(pose[:, 8] / 2)
        intrinsics[:, 1, 1] = height / 2 / np.tan(pose[:, 7] / 2)
        intrinsics[:, :, 2] = width / 2, height / 2, 1
        return cls(intrinsics, rotation_from_quaternion(pose[:, 3:7]), pose[:, :3]), usable

    def select(self, views: NDArray[np.generic]) -> Self:
        return type(self)(self.intrinsics[views], self.rotation[views], self.translation[views])

    def scaled(self, scale: float) -> Self:
        """The same cameras where a unit of length is `scale` of the former one."""
        return type(self)(self.intrinsics, self.rotation, self.translation * scale)

    @property
    def centers(self) -> Array:
        """[S, 3] in the world."""
        return np.asarray(-np.einsum("sij,si->sj", self.rotation, self.translation))

    @property
    def world_from_camera(self) -> Array:
        """[S, 4, 4]."""
        matrices = np.tile(np.eye(4), (len(self.rotation), 1, 1))
        matrices[:, :3, :3] = self.rotation.transpose(0, 2, 1)
        matrices[:, :3, 3] = self.centers
        return matrices

    def rays(self, rows: NDArray[Any], columns: NDArray[Any]) -> Array:
        """[S, h, w, 3] in each camera's frame, with z = 1, through the pixels rows [h] x columns [w]."""
        k = self.intrinsics
        rays = np.ones((len(k), len(rows), len(columns), 3))
        rays[..., 0] = ((columns - k[:, :1, 2]) / k[:, :1, 0])[:, None, :]
        rays[..., 1] = ((rows - k[:, 1:2, 2]) / k[:, 1:2, 1])[:, :, None]
        return rays

    def to_world(self, vectors: Array) -> Array:
        """Directions [S, h, w, 3] of each camera's frame, turned into the world's."""
        return (vectors.reshape(len(vectors), -1, 3) @ self.rotation).reshape(vectors.shape)

    def unproject(self, depth: Array, rows: NDArray[Any], columns: NDArray[Any]) -> Array:
        """World points [S, h, w, 3] of depth [S, h, w] (along the optical axis) at pixels rows [h] x columns [w]."""
        return self.to_world(self.rays(rows, columns) * depth[..., None]) + self.centers[:, None, None]


def rotation_from_quaternion(quaternion: Array) -> Array:
    """[S, 4] (x, y, z, w) of any length but 0 -> [S, 3, 3]."""
    x, y, z, w = quaternion.T * np.sqrt(2) / np.linalg.norm(quaternion, axis=1)
    rows = [
        [1 - y * y - z * z, x * y - z * w, x * z + y * w],
        [x * y + z * w, 1 - x * x - z * z, y * z - x * w],
        [x * z - y * w, y * z + x * w, 1 - x * x - y * y],
    ]
    return np.array(rows).transpose(2, 0, 1)


def normals(disparity: Array, rays: Array, window: int) -> Array:
    """Unit normals [S, h, w, 3], towards the camera and in its frame, of disparity [S, h, w] (1 / depth) along rays.

    A plane is linear in disparity, so window^2 points (an odd number squared) give its normal by least squares. Each
    point takes, of the windows around and diagonally beside it, the one that is flattest (Kuwahara's filter), so that
    an edge does not blur into both its sides. Where nothing is known the normal points along the ray.
    """
    height, width = disparity.shape[1:]
    fallback: Array = -rays / lengths(rays)[..., None]
    if min(height, width) < window:
        return fallback
    half = window // 2
    step = np.stack([rays[:, 0, 1, 0] - rays[:, 0, 0, 0], rays[:, 1, 0, 1] - rays[:, 0, 0, 1]])[..., None, None]
    line, one = np.arange(window, dtype=np.float64) - half, np.ones(window)
    spread = window * (line**2).sum()
    mean = _filter(disparity, one, one) / window**2
    slope_x, slope_y = _filter(disparity, one, line) / spread, _filter(disparity, line, one) / spread
    residual = _filter(disparity**2, one, one) - window**2 * mean**2 - spread * (slope_x**2 + slope_y**2)
    residual = np.where(np.isfinite(residual), np.maximum(residual, 0) / (mean**2 + 1e-30) + 1e-9, np.inf)
    inner = rays[:, half:-half, half:-half]
    slope_x, slope_y = slope_x / step[0], slope_y / step[1]
    plane = np.stack([slope_x, slope_y, mean - slope_x * inner[..., 0] - slope_y * inner[..., 1]], axis=-1)
    edge = ((0, 0), (2 * half, 2 * half), (2 * half, 2 * half))
    window_at = np.pad(np.arange(residual.size).reshape(residual.shape), edge, mode="edge")
    residual = np.pad(residual, edge, mode="edge")

    best, chosen = (grid[:, half : half + height, half : half + width] for grid in (residual, window_at))
    for dy in (0, 2 * half):
        for dx in (0, 2 * half):
            here = np.s_[:, dy : dy + height, dx : dx + width]
            other = residual[here] * 2  # the window around the point is preferred
            chosen = np.where(other < best, window_at[here], chosen)
            best = np.minimum(best, other)
    result = plane.reshape(-1, 3).take(chosen, axis=0)
    length = lengths(result)
    known = np.isfinite(best) & (length > 0) & (np.einsum("...i,...i->...", result, rays) > 0)
    return np.where(known[..., None], -result / np.where(length > 0, length, 1)[..., None], fallback)


def lengths(vectors: Array) -> Array:
    """[...] of vectors [..., 3]."""
    return np.asarray(np.sqrt(np.einsum("...i,...i->...", vectors, vectors)))


def _filter(grid: Array, down: Array, across: Array) -> Array:
    """Correlation of [S, h, w] with down x across, where the window fits."""
    height, width = grid.shape[1] - len(down) + 1, grid.shape[2] - len(across) + 1
    rows = sum(weight * grid[:, i : i + height] for i, weight in enumerate(down))
    return np.asarray(sum(weight * rows[:, :, i : i + width] for i, weight in enumerate(across)))


def pixel_areas(depth: Array, rays: Array, normal: Array, intrinsics: Array) -> Array:
    """[...] area of surface behind a pixel: z^2 / (fx fy |n . r|), r the ray with z = 1 and n the unit normal.

    All of `depth` [...], `rays` [..., 3] and `normal` [..., 3] are of one camera frame; `intrinsics` [..., 3, 3].
    Surfaces seen at less than 3 degrees count as seen at 3.
    """
    slant = np.abs((normal * rays).sum(axis=-1)) / np.linalg.norm(rays, axis=-1)
    slant = np.maximum(slant, _GRAZING) * np.linalg.norm(rays, axis=-1)
    return np.asarray(depth**2 / (intrinsics[..., 0, 0] * intrinsics[..., 1, 1] * slant))


def mesh_volume(positions: NDArray[np.floating], triangles: NDArray[np.integer]) -> float:
    """Of a closed mesh whose triangles all turn the same way, by the divergence theorem."""
    a, b, c = (np.asarray(positions, np.float64)[triangles[:, i]] for i in range(3))
    return abs(float((a * np.cross(b, c)).sum())) / 6
