"""A furnished room as boxes: what a ray meets, for pictures and for sound alike.

The room's frame has x and y along the floor and z up, in metres, with one corner of the room at the origin.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Indices = NDArray[np.intp]

FACES = ("-x", "+x", "-y", "+y", "floor", "ceiling")
NORMALS = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)  # inwards
_UV = np.array([[1, 2], [1, 2], [0, 2], [0, 2], [0, 1], [0, 1]])  # the axes that lie in each face


@dataclass(frozen=True)
class Patch:
    """A rectangle of another finish on a face of the room: a window, a door, a rug."""

    face: int
    low: tuple[float, float]  # metres along the face's two axes
    high: tuple[float, float]
    finish: int


@dataclass(frozen=True)
class Box:
    """A piece of furniture or a part of one, turned about the vertical."""

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    finish: int


@dataclass(frozen=True, eq=False)
class Hits:
    """What rays met. All arrays have one row a ray."""

    distance: Array  # [N] in units of the direction's length
    normal: Array  # [N, 3] unit, towards the ray
    finish: Indices  # [N]
    uv: Array  # [N, 2] metres along the surface


@dataclass(frozen=True)
class Geometry:
    """The inside of a box with patches on its faces and boxes in it."""

    dims: tuple[float, float, float]
    faces: tuple[int, ...]  # the finish of each
    patches: tuple[Patch, ...]
    boxes: tuple[Box, ...]

    @property
    def volume(self) -> float:
        """Of air, m3: boxes that overlap are subtracted twice, which furniture hardly does."""
        return float(np.prod(self.dims) - sum(np.prod(box.size) for box in self.boxes))

    def areas(self, finishes: int) -> Array:
        """[finishes] m2 of each finish that faces the air, furniture standing on the floor aside."""
        x, y, z = self.dims
        area = np.zeros(finishes, np.float32)
        for finish, size in zip(self.faces, (y * z, y * z, x * z, x * z, x * y, x * y), strict=True):
            area[finish] += size
        for patch in self.patches:
            size = (patch.high[0] - patch.low[0]) * (patch.high[1] - patch.low[1])
            area[patch.finish] += size
            area[self.faces[patch.face]] -= size
        for box in self.boxes:
            a, b, c = box.size
            area[box.finish] += 2 * (a * c + b * c) + a * b
        return np.maximum(area, 0)

    def contains(self, points: Array, margin: float) -> NDArray[np.bool_]:
        """[N]: which points [N, 3] are in the air, `margin` away from every surface."""
        free = ((points > margin) & (points < np.array(self.dims, np.float32) - margin)).all(axis=1)
        for box in self.boxes:
            local = _turn(points - np.array(box.center, np.float32), -box.yaw)
            free &= (np.abs(local) > np.array(box.size, np.float32) / 2 + margin).any(axis=1)
        return np.asarray(free)

    def intersect(self, origin: Array, direction: Array) -> Hits:
        """The first surface that rays [N, 3] from inside the room meet. Directions need not be of unit length."""
        away = np.where(np.abs(direction) < 1e-9, np.float32(1e-9), direction)
        ends = (np.where(away > 0, np.array(self.dims, np.float32), np.float32(0)) - origin) / away
        distance = _least(ends)
        axis = np.where(ends[:, 0] == distance, 0, np.where(ends[:, 1] == distance, 1, 2))
        rows = np.arange(len(ends))
        face = 2 * axis + (away[rows, axis] > 0)
        point = origin + distance[:, None] * direction
        uv = point[rows[:, None], _UV[face]]
        finish = np.array(self.faces)[face]
        for patch in self.patches:
            on_face = np.flatnonzero(face == patch.face)
            (u, v), (left, bottom), (right, top) = uv[on_face].T, patch.low, patch.high
            finish[on_face[(u > left) & (u < right) & (v > bottom) & (v < top)]] = patch.finish
        hits = Hits(distance, NORMALS[face], finish, uv)
        for box in self.boxes:
            _meet(box, origin, away, hits)
        return hits


def _meet(box: Box, origin: Array, direction: Array, hits: Hits) -> None:
    """Writes into `hits` where rays meet `box` sooner (slab method, Kay and Kajiya 1986)."""
    center, half = np.array(box.center, np.float32), np.array(box.size, np.float32) / 2
    to_center = center - origin
    along, length = dot(to_center, direction), dot(direction, direction)
    # Most rays pass by the ball around the box: they are left out of the costlier test.
    near = dot(to_center, to_center) - along * np.abs(along) / length < (half * half).sum()
    rows = np.flatnonzero(near)
    if not rows.size:
        return
    local_origin, local = _turn(-to_center[rows], -box.yaw), _turn(direction[rows], -box.yaw)
    local = np.where(np.abs(local) < 1e-9, np.float32(1e-9), local)
    first, second = (-half - local_origin) / local, (half - local_origin) / local
    enter_axes, leave = np.minimum(first, second), _least(np.maximum(first, second))
    enter = -_least(-enter_axes)
    axis = np.where(enter_axes[:, 0] == enter, 0, np.where(enter_axes[:, 1] == enter, 1, 2))
    met = (enter > 1e-4) & (enter < leave) & (enter < hits.distance[rows])
    rows, axis, enter = rows[met], axis[met], enter[met]
    point = local_origin[met] + enter[:, None] * local[met]
    normal = np.zeros((rows.size, 3), np.float32)
    normal[np.arange(rows.size), axis] = -np.sign(local[met, axis])
    hits.distance[rows] = enter
    hits.normal[rows] = _turn(normal, box.yaw)
    hits.finish[rows] = box.finish
    hits.uv[rows] = point[np.arange(rows.size)[:, None], _UV[2 * axis]] + half[_UV[2 * axis]]


def dot(a: Array, b: Array) -> Array:
    """[N] of [N, 3] and [N, 3]; several times as fast as numpy's sum along a short axis."""
    product: Array = np.einsum("ij,ij->i", a, b)
    return product


def _least(rows: NDArray[np.floating]) -> Array:
    """[N]: the least of each of [N, 3], fast for the same reason."""
    return np.asarray(np.minimum(np.minimum(rows[:, 0], rows[:, 1]), rows[:, 2]))


def _turn(vectors: Array, yaw: float) -> Array:
    """[N, 3] turned about z."""
    c, s = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    return np.stack([c * vectors[:, 0] - s * vectors[:, 1], s * vectors[:, 0] + c * vectors[:, 1], vectors[:, 2]], 1)
