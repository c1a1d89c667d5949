"""Objects in a room: connected samples inside of its hull, each taken for a box whose unseen faces are inferred."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.acoustics.geometry import Array, Mask
from service.acoustics.planes import weighted_quantiles
from service.acoustics.room import OBJECT, Hull
from service.acoustics.samples import Samples, sums_by_key

FACES = 6  # of a box: 2 axis + (0 low or 1 high), with the normal outwards
_VOXEL = 0.035  # of the hull's diagonal: what is this near belongs together
_MAX_VOXELS = 64  # along one axis
_LEAST_SAMPLES = 6
_LEAST_AREA = 0.0005  # of the hull's: less is noise
_TOUCHING = 0.015  # of the diagonal: nearer to a wall than this stands against it
_LOW = 0.06  # of the diagonal: what ends this near to the floor, and hides it, stands on it
_OPEN = 0.7  # share of the floor below that must be seen for it to be free
_VISIBLE = 0.4  # share of a footprint that must be seen from above for it to be that of one thing
_SMALL = 0.1  # of the floor: no more is hidden under what is not seen from above
_ENDS = np.array([0.01, 0.99])  # so much of an object's area lies between the faces of its box
_WHOLE = 0.6  # a view counts for a cell if it shows this share of what the best view of it shows
_THIN = 0.003  # of the diagonal: what is thinner, a picture or a sheet, gets this thickness
_ALIGNED = 0.4  # resultant of the fourfold angles above which an object has a direction of its own


@dataclass(frozen=True, eq=False)
class Objects:
    """K boxes, one a row."""

    axes: Array  # [K, 3, 3] rows; the last is the room's up
    low: Array  # [K, 3] along its own axes
    high: Array  # [K, 3]
    solid: Mask  # [K] stands on the floor: no air below
    areas: Array  # [K, 6] that face the air; less than the box's for a frame, more for what is folded
    values: Array  # [K, 6, P] means by area of what the samples of each face have

    @property
    def volume(self) -> float:
        """Of the solid ones, with the footprint that their area from above says."""
        return float((self.solid * self.footprints * (self.high - self.low)[:, 2]).sum())

    @property
    def footprints(self) -> Array:
        """[K] area of the floor that each covers, if it does."""
        width = self.high - self.low
        return np.minimum(np.where(self.areas[:, 5] > 0, self.areas[:, 5], np.inf), width[:, 0] * width[:, 1])

    def covers(self, points: Array) -> Mask:
        """[N]: which points [N, 3] lie inside of a solid box."""
        inside = np.zeros(len(points), bool)
        for axes, low, high in zip(self.axes[self.solid], self.low[self.solid], self.high[self.solid], strict=True):
            local = axes @ points.T
            inside |= ((local > low[:, None]) & (local < high[:, None])).all(axis=0)
        return inside


@dataclass(frozen=True, eq=False)
class Floor:
    """Where the floor is to be seen, so that nothing stands there: centers [F, 3] of its cells, [F] shares of them."""

    centers: Array
    seen: Array


def find_objects(samples: Samples, hull: Hull, values: Array, trust: Array, floor: Floor) -> Objects:
    """Boxes around the samples that `hull` says are of objects.

    values [N, P] and trust [N]: what is averaged over each face, and with what weight beside its area.
    """
    rows = np.flatnonzero(hull.side == OBJECT)
    label, count = _components(samples.points[rows], hull)
    rows, label = rows[label >= 0], label[label >= 0]
    part = samples.select(rows)
    axes = _axes(part, label, count, hull)
    facing = np.einsum("nij,nj->ni", axes[label], part.normals)
    axis = np.abs(facing).argmax(axis=1)
    face = 2 * axis + (facing[np.arange(len(axis)), axis] > 0)
    local = np.einsum("nij,nj->ni", axes[label], part.points)
    normal = axes[label, axis]
    area = part.areas(normal)
    low, high = np.zeros((count, 3)), np.zeros((count, 3))
    for number in range(count):
        of_it = label == number
        ends = [weighted_quantiles(along, area[of_it], _ENDS) for along in local[of_it].T]
        low[number], high[number] = np.transpose(ends)
    padding = np.maximum(_THIN * hull.diagonal - (high - low), 0) / 2
    low, high = low - padding, high + padding
    measured = _measure(part, label * FACES + face, count * FACES, local, axis, area, hull).reshape(count, FACES)
    weighted = np.column_stack([values[rows], np.ones(len(rows))])
    sums = sums_by_key(label * FACES + face, count * FACES, trust[rows] * area, weighted)
    sums = sums.reshape(count, FACES, sums.shape[-1])
    kept = measured.sum(axis=1) > _LEAST_AREA * hull.sizes().sum()
    return _complete(axes[kept], low[kept], high[kept], measured[kept], sums[kept], hull, floor)


def _components(points: Array, hull: Hull) -> tuple[NDArray[np.intp], int]:
    """[N] numbers of connected parts, -1 for what is too small to be one; and how many there are."""
    if not len(points):
        return np.zeros(0, np.intp), 0
    voxel = np.maximum(_VOXEL * hull.diagonal, hull.dims.max() / _MAX_VOXELS)
    index = np.floor((points @ hull.axes.T - hull.low) / voxel)
    shape = np.ceil(hull.dims / voxel).astype(np.intp) + 1
    at = tuple(index.clip(0, shape - 1).astype(np.intp).T)
    grid = np.zeros(shape, bool)
    grid[at] = True
    label = ndimage.label(grid, np.ones((3, 3, 3)))[0][at] - 1
    large = np.bincount(label) >= _LEAST_SAMPLES
    return np.where(large, np.cumsum(large) - 1, -1)[label], int(large.sum())


def _axes(samples: Samples, label: NDArray[np.intp], count: int, hull: Hull) -> Array:
    """[K, 3, 3]: the room's axes, turned about up so that an object's upright faces face along them."""
    level = samples.normals @ (hull.axes[0] + 1j * hull.axes[1])
    weight = samples.areas(samples.normals) * samples.weights * np.abs(level) ** 2
    turned = weight * np.exp(4j * np.angle(level))
    real, imaginary, total = (np.bincount(label, part, count) for part in (turned.real, turned.imag, weight))
    fourfold = real + 1j * imaginary
    yaw = np.where(np.abs(fourfold) > _ALIGNED * total, np.angle(fourfold) / 4, 0)
    c, s, zero = np.cos(yaw), np.sin(yaw), np.zeros(count)
    turns = np.array([[c, s, zero], [-s, c, zero], [zero, zero, zero + 1]]).transpose(2, 0, 1)
    return np.asarray(turns @ hull.axes)


def _measure(
    samples: Samples,
    face: NDArray[np.intp],
    faces: int,
    local: Array,
    axis: NDArray[np.intp],
    area: Array,
    hull: Hull,
) -> Array:
    """[faces] area that the views show of each face, no part of it counted twice.

    Each view measures what it shows of a cell of the face; those that show most of it are averaged.
    """
    cell = 2 * _VOXEL * hull.diagonal
    across = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    index = np.floor(np.take_along_axis(local, across, axis=1) / cell)
    index = (index - index.min(axis=0, initial=0)).clip(0, 999).astype(np.intp)
    keys, cells = np.unique((face * 1000 + index[:, 0]) * 1000 + index[:, 1], return_inverse=True)
    views = int(samples.views.max(initial=0)) + 1
    shown = np.bincount(cells * views + samples.views, area, len(keys) * views).reshape(-1, views)
    whole = shown >= _WHOLE * shown.max(axis=1, keepdims=True)
    measured = (shown * whole).sum(axis=1) / whole.sum(axis=1)
    return np.asarray(np.bincount(keys // 1_000_000, measured, faces), np.float64)


def _complete(axes: Array, low: Array, high: Array, areas: Array, sums: Array, hull: Hull, floor: Floor) -> Objects:
    """What lies opposite of a face has its area, unless it touches the hull (the surface integral of the normal of a
    closed body is zero); what is solid has the faces of its box, as far as it fills it from above; and a face that
    nobody saw is made of what its opposite is, or the whole object."""
    solid = np.zeros(len(low), bool)
    flat = np.prod((high - low)[:, :2], axis=1)
    # several things taken for one would stand on more floor than they do
    compact = (areas[:, 5] > _VISIBLE * flat) | (flat < _SMALL * hull.dims[0] * hull.dims[1])
    for number in range(len(low)):
        local = floor.centers @ axes[number].T
        under = ((local[:, :2] > low[number, :2]) & (local[:, :2] < high[number, :2])).all(axis=1)
        near = low[number, 2] - hull.low[2] < _LOW * hull.diagonal
        solid[number] = near and compact[number] and not (under.any() and floor.seen[under].mean() > _OPEN)
    low = np.where(solid[:, None] & [False, False, True], hull.low[2], low)
    width = high - low
    touching = _touching(axes, low, high, hull)
    lidless = solid & (areas[:, 5] < _VISIBLE * flat)  # taller than the cameras, or up to the ceiling
    filled = np.where(lidless, 1, np.minimum(areas[:, 5] / flat, 1))
    boxed = np.stack([width[:, 1] * width[:, 2], width[:, 0] * width[:, 2], flat], axis=1) * filled[:, None]
    opposite = areas.reshape(-1, 3, 2)[:, :, ::-1].reshape(-1, FACES)
    complete = np.maximum(areas, np.where(solid[:, None], np.repeat(boxed, 2, axis=1), opposite))
    complete = np.where(touching, areas, np.maximum(complete, opposite))
    complete[solid, 4] = 0

    weights = sums[..., -1:]
    whole = sums.sum(axis=1, keepdims=True)
    other = sums.reshape(-1, 3, 2, sums.shape[-1])[:, :, ::-1].reshape(sums.shape)
    chosen = np.where(weights > 0, sums, np.where(other[..., -1:] > 0, other, whole))
    return Objects(axes, low, high, solid, complete, chosen[..., :-1] / chosen[..., -1:])


def _touching(axes: Array, low: Array, high: Array, hull: Hull) -> Mask:
    """[K, 6] faces whose middle lies against a side of the hull."""
    turn = axes @ hull.axes.T
    middle = np.repeat((low + high)[:, None] / 2, FACES, axis=1)
    face, axis = np.arange(FACES), np.arange(FACES) // 2
    middle[:, face, axis] = np.stack([low, high], axis=2).reshape(-1, FACES)
    along = middle @ turn
    near = np.minimum(np.abs(along - hull.low), np.abs(along - hull.high)) < _TOUCHING * hull.diagonal
    return np.asarray((near & (np.abs(turn[:, axis]) > 0.9)).any(axis=2))
