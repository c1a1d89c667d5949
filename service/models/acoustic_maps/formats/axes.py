"""The axes and units of engines, and how a scene is put into them.

| frame  | handed | right | up | forward | unit | whose |
|--------|--------|-------|----|---------|------|-------|
| opencv | right  | +x    | -y | +z      | m    | as predicted: the first camera's own, tilted as it was held |
| gltf   | right  | +x    | +y | -z      | m    | glTF, OpenXR, Steam Audio, Resonance Audio, RealityKit, three.js |
| unity  | left   | +x    | +y | +z      | m    | Unity, Wwise |
| unreal | left   | +y    | +z | +x      | cm   | Unreal Engine |

All but opencv stand upright: the room is turned, by the smallest angle, until its up is theirs.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.acoustics.scene import AcousticScene

FrameName = Literal["gltf", "opencv", "unity", "unreal"]

_AXES: dict[FrameName, list[list[int]]] = {
    "opencv": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "gltf": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "unity": [[1, 0, 0], [0, -1, 0], [0, 0, 1]],
    "unreal": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
}
_UP = np.array([0.0, -1.0, 0.0])  # in OpenCV's axes


@dataclass(frozen=True, eq=False)
class Frame:
    """From the scene's own axes to an engine's. In each frame (b - a) x (c - a) of a triangle points into the room."""

    name: FrameName
    axes: NDArray[np.float64]  # [3, 3]: of OpenCV's axes
    rotation: NDArray[np.float64]  # [3, 3] orthogonal: `axes` after turning upright; a reflection for left-handed ones
    unit: Literal["m", "cm"]

    @classmethod
    def of(cls, scene: AcousticScene, name: FrameName) -> "Frame":
        axes = np.array(_AXES[name], np.float64)
        upright = np.eye(3) if name == "opencv" else turn(np.asarray(scene.room.up, np.float64), _UP)
        return cls(name, axes, axes @ upright, "cm" if name == "unreal" else "m")

    @property
    def scale(self) -> float:
        """Units per metre."""
        return 100.0 if self.unit == "cm" else 1.0

    def points(self, points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """[..., 3] in metres of the scene -> [..., 3] in units of the frame."""
        return np.asarray(points @ (self.rotation.T * self.scale), np.float32)

    def directions(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """[..., 3] of any length but 0 -> [..., 3] of length 1."""
        turned = vectors @ self.rotation.T
        return np.asarray(turned / np.linalg.norm(turned, axis=-1, keepdims=True), np.float32)

    def triangles(self, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
        """[T, 3], turned the other way round where the axes are a mirror image."""
        return triangles if np.linalg.det(self.rotation) > 0 else np.ascontiguousarray(triangles[:, ::-1])

    def pose(self, world_from_camera: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[4, 4] -> [4, 4]: of a camera that looks along the frame's forward axis with its up axis upwards."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation @ world_from_camera[:3, :3] @ self.axes.T
        pose[:3, 3] = self.rotation @ world_from_camera[:3, 3] * self.scale
        return pose

    def plane(self, plane: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """[4] (unit normal, d) with normal . x + d = 0."""
        return np.append(self.rotation @ plane[:3], plane[3] * self.scale)


def turn(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3]: the smallest rotation that takes the direction `start` to `end`; from its opposite, about z or x."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    cosine = float(start @ end)
    if cosine < -1 + 1e-9:
        across = np.cross(end, [0.0, 0.0, 1.0])
        across = np.cross(across, end) if np.linalg.norm(across) > 1e-6 else np.array([1.0, 0.0, 0.0])
        across /= np.linalg.norm(across)
        return np.asarray(2 * np.outer(across, across) - np.eye(3))
    x, y, z = np.cross(start, end)
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + skew + skew @ skew / (1 + cosine))


def quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """[3, 3] -> [4] (x, y, z, w) of length 1, by the eigenvector of Bar-Itzhack (2000): stable for every angle."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    matrix = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    vector = np.linalg.eigh(matrix)[1][:, -1]
    return np.asarray(vector if vector[3] >= 0 else -vector)
