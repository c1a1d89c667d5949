"""The hull of a room: the box that its walls, floor and ceiling span, and which sample lies on which of them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.acoustics.frame import orthonormal, room_axes
from service.acoustics.geometry import Array, Cameras, Mask
from service.acoustics.planes import MAX_NOISE, Spread, capped, outermost, settle, weighted_quantiles
from service.acoustics.samples import Samples

SIDES = 6  # low and high of each axis: 2 axis + (0 or 1); the last two are floor and ceiling
OBJECT, OUTSIDE, UNCLEAR = -1, -2, -3
MIN_TOLERANCE = 0.004  # of the room's diagonal: what is nearer to a wall is part of it
_LEAST_SHARE = 0.1  # of what faces one way must lie on a plane for it to be a side of the room
_LEAST_TOTAL = 0.01  # and of everything
_WALL_SHARE = 0.3  # of what faces one way is on a wall, if something lies this many times as far from the cameras:
_WINDOW_DEPTH = 2.5
_ENDS = np.array([0.05, 0.95])  # so much of everything lies between unseen sides
_ENOUGH = 800  # samples say where a side is,
_PLENTY = 2_500  # and so many where nearly all of them end
_ROUGHLY = 4  # one sample of so many says it well enough to tell the axes by
_BLUR = 0.02  # of the diagonal: what poses that disagree may make of a plane, before it is looked at closely
_CLEARLY = 0.5  # by how much a sample must fit one side better than another to count for it
_CAMERA_CLEARANCE = 0.05  # of the diagonal: how far behind a camera an unseen wall is assumed


@dataclass(frozen=True, eq=False)
class Hull:
    """A box: coordinates along `axes` [3, 3] (rows; the last is up) from `low` [3] to `high` [3]."""

    axes: Array
    low: Array
    high: Array
    seen: Mask  # [6] sides that samples lie on; the others are where samples or cameras end
    spread: tuple[Spread, ...]  # [6] of the samples on each side
    side: NDArray[np.intp]  # [N] of each sample: a side, OBJECT, OUTSIDE, or UNCLEAR in a noisy corner

    @property
    def dims(self) -> Array:
        return self.high - self.low

    @property
    def diagonal(self) -> float:
        return float(np.linalg.norm(self.dims))

    @property
    def volume(self) -> float:
        return float(np.prod(self.dims))

    def normal(self, side: int) -> Array:
        """[3] unit, into the room."""
        return np.asarray(self.axes[side // 2] * (1 - 2 * (side % 2)))

    def offset(self, side: int) -> float:
        """normal . x of the points of the side."""
        return float(self.low[side // 2] if side % 2 == 0 else -self.high[side // 2])

    def sizes(self) -> Array:
        """[6] areas."""
        a, b, c = self.dims
        return np.array([b * c, b * c, a * c, a * c, a * b, a * b])


def fit_hull(samples: Samples, cameras: Cameras) -> Hull:
    """The hull of the room that `samples` (one at least) lie in and `cameras` stand in."""
    areas = capped(samples.areas(samples.normals)) * samples.weights
    placed = _Placed.along(room_axes(samples.normals, areas, -cameras.rotation[:, 1]), samples, areas)
    rough = _box(placed.every(_ROUGHLY), cameras, samples.noise)
    placed = _Placed.along(_straighten(samples.points, placed, rough), samples, areas)
    hull = _box(placed, cameras, samples.noise)
    return replace(hull, side=_assign(placed, hull))


@dataclass(frozen=True, eq=False)
class _Placed:
    """Samples as the axes of a room see them."""

    axes: Array  # [3, 3]
    at: Array  # [3, N] coordinates
    facing: Array  # [3, N] of the normals
    reach: Array  # [3, N] distances from the cameras
    areas: Array  # [N] weights

    @classmethod
    def along(cls, axes: Array, samples: Samples, areas: Array) -> Self:
        reach = np.abs(axes @ samples.rays.T) * samples.ranges
        return cls(axes, axes @ samples.points.T, axes @ samples.normals.T, reach, areas)

    def every(self, step: int) -> "_Placed":
        parts = (part[..., ::step] for part in (self.at, self.facing, self.reach, self.areas))
        return _Placed(self.axes, *parts)


def _box(placed: _Placed, cameras: Cameras, noise: float) -> Hull:
    axes, areas = placed.axes, placed.areas
    stands = cameras.centers @ axes.T
    stands_at = np.stack([stands.min(axis=0), stands.max(axis=0)])
    few = placed.every(1 + len(areas) // _PLENTY)
    inner = np.transpose([weighted_quantiles(at, few.areas, _ENDS) for at in few.at])
    span = np.stack([np.minimum(inner[0], stands_at[0]), np.maximum(inner[1], stands_at[1])])
    diagonal = max(float(np.linalg.norm(span[1] - span[0])), 1e-6)
    floor = MIN_TOLERANCE * diagonal
    spread = [Spread(min(max(noise, 0.002), MAX_NOISE), floor / 3)] * SIDES
    # what is assumed ends behind the cameras; a plane that is found has none behind it, but for noise
    bounds = np.where(span == stands_at, span + np.array([[-1], [1]]) * _CAMERA_CLEARANCE * diagonal, span)
    seen, total = np.zeros(SIDES, bool), float(areas.sum())
    for side in range(SIDES):
        axis, end, sign = side // 2, side % 2, 2 * (side % 2) - 1
        facing_it = np.flatnonzero(sign * placed.facing[axis] < -0.6)
        every = 1 + len(facing_it) // _ENOUGH
        rows = facing_it[::every]
        found = _side(
            sign * placed.at[axis, rows],
            areas[rows],
            placed.reach[axis, rows],
            sign * float(stands[:, axis].mean()),
            total / every,
            spread[side],
            _BLUR * diagonal,
        )
        if found is not None and found[0] > sign * stands_at[end, axis] - _BLUR * diagonal:
            bounds[end, axis], spread[side], seen[side] = sign * found[0], found[1], True
    bounds.sort(axis=0)
    flat = bounds[1] - bounds[0] < 2 * floor
    bounds += np.array([[-1], [1]]) * floor * flat
    return Hull(axes, bounds[0], bounds[1], seen, tuple(spread), np.zeros(len(areas), np.intp))


def _side(
    along: Array, areas: Array, reach: Array, stand: float, total: float, spread: Spread, blur: float
) -> tuple[float, Spread] | None:
    """(coordinate, spread) of the outermost plane that a good part of what faces inwards lies on; `stand`: where the
    cameras are."""
    if along.size < 3:
        return None
    kernel = max(2 * spread.noise * float(np.partition(reach, reach.size // 2)[reach.size // 2]), blur)
    facing = float(areas.sum())
    least = (max(_LEAST_SHARE * facing, _LEAST_TOTAL * total), _WALL_SHARE * facing)
    start, wall = outermost(along, areas, kernel, least)
    if start is None:
        return None
    # What is seen through a window or a door is behind the wall that they are in.
    if wall is not None and start - stand > _WINDOW_DEPTH * max(wall - stand, blur):
        start = wall
    return settle(along, areas, reach, start, spread, 1.5 * blur)


def _straighten(points: Array, placed: _Placed, hull: Hull) -> Array:
    """Axes that fit the seen sides as planes, which noise moves less than it moves normals."""
    sums = np.zeros((3, 3))
    for side in np.flatnonzero(hull.seen).tolist():
        axis, bound = side // 2, (hull.low, hull.high)[side % 2][side // 2]
        rows = np.flatnonzero(np.abs(placed.facing[axis]) > 0.7)
        tolerance = hull.spread[side].tolerance(placed.reach[axis, rows])
        near = np.abs(placed.at[axis, rows] - bound) < 2 * tolerance
        rows = rows[near]
        if len(rows) < 12:
            continue
        weight = placed.areas[rows] / tolerance[near] ** 2
        centred = points[rows] - weight @ points[rows] / weight.sum()
        values, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
        normal = vectors[:, 0] * np.sign(vectors[:, 0] @ hull.axes[axis])
        if abs(normal @ hull.axes[axis]) > 0.97:
            # the narrower of the plane's extents says how well its tilt is known
            sums[axis] += normal * values[1] / max(float(weight.mean()), 1e-12)
    return orthonormal(sums + 0.02 * np.linalg.norm(sums) * hull.axes) if sums.any() else hull.axes


def _assign(placed: _Placed, hull: Hull) -> NDArray[np.intp]:
    best, second = np.full((2, len(placed.areas)), np.inf)
    result = np.full(len(placed.areas), OBJECT)
    for side in range(SIDES):
        axis, sign = side // 2, 2 * (side % 2) - 1
        tolerance = hull.spread[side].tolerance(placed.reach[axis])
        distance = sign * (placed.at[axis] - (hull.low, hull.high)[side % 2][axis]) / tolerance
        result[np.isinf(best) & (distance > 1)] = OUTSIDE
        if hull.seen[side]:
            near = np.maximum(distance / 2, -distance)  # noise is all that can lie outside
            facing = np.abs(placed.facing[axis])
            fits = (near < 1) & ((facing > 0.5) | (near < 0.4))
            cost = np.where(fits, 3 * near + 1 - facing, np.inf)
            result[cost < best] = side
            second = np.minimum(second, np.maximum(best, cost))
            best = np.minimum(best, cost)
    result[second < best + _CLEARLY] = UNCLEAR
    return result
