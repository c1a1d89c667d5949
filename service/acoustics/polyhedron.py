"""Convex rooms: what planes enclose, and where a ray leaves it."""

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

MAX_PLANES = 64

_SIZE_M = (1e-2, 1e4)
_PARALLEL = 1e-9  # sine or volume of unit normals below which they count as parallel
_TOLERANCE = 1e-6  # of the room's size


@dataclass(frozen=True, eq=False)
class Polyhedron:
    """planes [P, 4]: (n, d), n of unit length and n . x + d >= 0 inside; centre [3] is well inside."""

    planes: Array
    vertices: Array  # [V, 3]; where more than three planes meet, there are several alike

    @classmethod
    def enclosed(cls, planes: ArrayLike) -> Self:
        """Normals may have any length. Raises ValueError where nothing is enclosed, and above MAX_PLANES planes."""
        array = np.asarray(planes, np.float64)
        if array.ndim != 2 or array.shape[1] != 4 or not 4 <= len(array) <= MAX_PLANES:
            raise ValueError(f"4 to {MAX_PLANES} planes (n, d) enclose a room, not an array of shape {array.shape}")
        length = np.linalg.norm(array[:, :3], axis=1, keepdims=True)
        if not np.isfinite(array).all() or not (length > 0).all():
            raise ValueError("a plane has a finite normal that is not zero, and a finite distance")
        array = array / length
        normals, offsets = array[:, :3], array[:, 3]
        # A direction in which the room is endless lies in two planes at least, if it is so in any.
        first, second = np.array(list(combinations(range(len(array)), 2))).T
        edges = np.cross(normals[first], normals[second])
        edges = edges[np.linalg.norm(edges, axis=1) > _PARALLEL]
        edges /= np.linalg.norm(edges, axis=1, keepdims=True)
        along = edges @ normals.T
        endless = (along >= -_PARALLEL).all(axis=1) | (along <= _PARALLEL).all(axis=1)
        corners = np.array(list(combinations(range(len(array)), 3)))
        corners = corners[np.abs(np.linalg.det(normals[corners])) > _PARALLEL]
        if endless.any() or not len(corners):
            raise ValueError("the planes leave the room open")
        vertices = np.linalg.solve(normals[corners], -offsets[corners][..., None])[..., 0]
        size = 1.0 + np.abs(offsets).max()
        vertices = vertices[(vertices @ normals.T + offsets >= -_TOLERANCE * size).all(axis=1)]
        if not len(vertices):
            raise ValueError("no point lies inside of all planes")
        room = cls(array, vertices)
        extent = np.ptp(vertices, axis=0)
        if not _SIZE_M[0] <= extent.min() <= extent.max() <= _SIZE_M[1]:
            raise ValueError(f"a room is {_SIZE_M[0]:g} to {_SIZE_M[1]:g} m in every direction")
        if (normals @ room.centre + offsets <= _TOLERANCE * extent.max()).any():
            raise ValueError("the planes enclose no volume")
        return room

    @property
    def centre(self) -> Array:
        """The mean of the corners."""
        return np.asarray(self.vertices.mean(axis=0))


def box(dims_m: ArrayLike) -> Array:
    """Planes [6, 4] of a box with one corner at the origin: at x = 0, x = dims[0], y = 0, ... z = dims[2]."""
    planes = np.zeros((6, 4))
    for axis, size in enumerate(np.asarray(dims_m, np.float64)):
        planes[2 * axis, axis], planes[2 * axis + 1, axis] = 1, -1
        planes[2 * axis + 1, 3] = size
    return planes
