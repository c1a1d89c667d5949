"""Rooms whose maps are exact: boxes with boxes in them, seen by pinhole cameras, every ray met analytically."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

PLASTER, CARPET, WOOD, CURTAIN, BRICK = range(5)
ABSORPTION = np.array(
    [
        [0.02, 0.02, 0.03, 0.03, 0.04, 0.05, 0.05, 0.05],
        [0.08, 0.08, 0.30, 0.60, 0.75, 0.80, 0.80, 0.80],
        [0.18, 0.12, 0.10, 0.09, 0.08, 0.07, 0.07, 0.07],
        [0.30, 0.45, 0.65, 0.56, 0.59, 0.71, 0.71, 0.71],
        [0.10, 0.13, 0.16, 0.20, 0.22, 0.25, 0.25, 0.25],
    ]
)
SCATTERING = np.array([0.08, 0.15, 0.12, 0.4, 0.2])


@dataclass(frozen=True)
class Box:
    """Furniture, turned about the vertical; z is up and the floor at 0."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    material: int
    yaw: float = 0.0


@dataclass(frozen=True)
class BoxRoom:
    """A box from the origin to `dims`; `faces`: materials of -x, +x, -y, +y, floor, ceiling."""

    dims: tuple[float, float, float]
    faces: tuple[int, int, int, int, int, int]
    boxes: tuple[Box, ...] = ()
    rug: tuple[float, float, float, float, int] | None = None  # low x, low y, high x, high y on the floor, material

    @property
    def volume(self) -> float:
        """Of the box, what stands in it included."""
        return float(np.prod(self.dims))

    def areas(self) -> Array:
        """[materials] m2 that face the air; boxes stand on the floor, and on it and on walls no sound gets between."""
        x, y, z = self.dims
        areas = np.zeros(len(ABSORPTION))
        np.add.at(areas, list(self.faces), [y * z, y * z, x * z, x * z, x * y, x * y])
        if self.rug is not None:
            size = (self.rug[2] - self.rug[0]) * (self.rug[3] - self.rug[1])
            areas[self.rug[4]] += size
            areas[self.faces[4]] -= size
        for box in self.boxes:
            a, b, c = box.size
            areas[box.material] += 2 * (a + b) * c + a * b
            areas[self.faces[4]] -= a * b
            for axis, size in enumerate((b * c, a * c)):
                for side, at in enumerate((0.0, self.dims[axis])):
                    if box.yaw == 0 and abs(box.center[axis] + (side - 0.5) * box.size[axis] - at) < 0.01:
                        areas[box.material] -= size
                        areas[self.faces[2 * axis + side]] -= size
        return areas

    def cast(self, origin: Array, direction: Array) -> tuple[Array, NDArray[np.intp]]:
        """(distance in lengths of the direction, material) for rays from one point, [N, 3]."""
        away = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
        ends = (np.where(away > 0, self.dims, 0.0) - origin) / away
        axis = ends.argmin(axis=1)
        distance = ends.min(axis=1)
        material = np.array(self.faces)[2 * axis + (away[np.arange(len(axis)), axis] > 0)]
        if self.rug is not None:
            point = origin + distance[:, None] * direction
            on = (point[:, 2] < 1e-6) & (point[:, :2] > self.rug[:2]).all(1) & (point[:, :2] < self.rug[2:4]).all(1)
            material[on] = self.rug[4]
        for box in self.boxes:
            turn = np.array([[np.cos(box.yaw), -np.sin(box.yaw), 0], [np.sin(box.yaw), np.cos(box.yaw), 0], [0, 0, 1]])
            local = away @ turn
            start = (origin - box.center) @ turn
            first, second = ((s * np.array(box.size) / 2 - start) / local for s in (-1, 1))
            enter, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
            met = (enter > 0) & (enter < leave) & (enter < distance)
            distance = np.where(met, enter, distance)
            material[met] = box.material
        return distance, material

    def free(self, point: Array, margin: float = 0.25) -> bool:
        for box in self.boxes:
            c, s = np.cos(box.yaw), np.sin(box.yaw)
            dx, dy, dz = point - box.center
            local = np.abs([c * dx + s * dy, c * dy - s * dx, dz])
            if (local < np.array(box.size) / 2 + margin).all():
                return False
        return True


def camera(position: Sequence[float], yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """world_from_camera [4, 4] with OpenCV's camera axes in a world whose z is up."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    pose = np.eye(4)
    c, s = np.cos(roll), np.sin(roll)
    pose[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    pose[:3, 3] = position
    return pose


def cameras(room: BoxRoom, count: int, chance: np.random.Generator, tilt: float = 0.25) -> list[Array]:
    """Spread views: a free place in each corner in turn, looking across the room, by pairs down and up by `tilt`."""
    poses: list[Array] = []
    while len(poses) < count:
        corner = np.array([[0.18, 0.18], [0.82, 0.82], [0.82, 0.18], [0.18, 0.82]][len(poses) % 4])
        place = (corner + chance.uniform(-0.1, 0.1, 2)) * room.dims[:2]
        position = np.array([*place, chance.uniform(1.3, 1.7)])
        if room.free(position):
            across = np.array(room.dims[:2]) / 2 - place
            pitch = chance.normal(0, 0.12) + (tilt if len(poses) // 2 % 2 else -tilt)
            poses.append(camera(position, np.arctan2(across[1], across[0]) + chance.normal(0, 0.25), pitch))
    return poses


def encode(poses: Sequence[Array], fov_h: float, fov_w: float) -> NDArray[np.float32]:
    """pose_enc [S, 9] in the frame of the first camera."""
    rows = []
    for pose in poses:
        camera_from_first = np.linalg.inv(pose) @ poses[0]
        quaternion = Rotation.from_matrix(camera_from_first[:3, :3]).as_quat(canonical=True)
        rows.append([*camera_from_first[:3, 3], *quaternion, fov_h, fov_w])
    return np.array(rows, np.float32)


def maps(
    room: BoxRoom, poses: Sequence[Array], height: int = 84, width: int = 112, fov_w: float = np.deg2rad(75)
) -> dict[str, NDArray[np.float32]]:
    """What a perfect model would say of the pictures taken from `poses`."""
    focal = width / 2 / np.tan(fov_w / 2)
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - width / 2) / focal, (v - height / 2) / focal, np.ones_like(u)], axis=-1).reshape(-1, 3)
    met = [room.cast(pose[:3, 3], rays @ pose[:3, :3].T) for pose in poses]
    shape = (len(poses), height, width)
    depth = np.stack([distance for distance, _ in met]).reshape(*shape, 1)
    material = np.stack([number for _, number in met]).reshape(shape)
    absorption = ABSORPTION[material]
    root = np.sqrt(1 - absorption[..., 2:5].mean(axis=-1))
    result = {
        "depth_map": depth,
        "depth_conf": np.full(shape, 2.0),
        "absorption": absorption,
        "reflection": 0.9 * (1 - absorption.max(axis=-1, keepdims=True)),
        "scattering": SCATTERING[material][..., None],
        "impedance": np.stack([(1 + root) / (1 - root), np.zeros(shape)], axis=-1),
        "acoustic_conf": np.full(shape, 0.8),
        "pose_enc": encode(poses, 2 * np.arctan(height / 2 / focal), fov_w),
        "pose_conf": np.full(len(poses), 9.0),
    }
    return {name: value.astype(np.float32) for name, value in result.items()}
