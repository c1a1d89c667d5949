"""The hull of a room: the box that its walls, floor and ceiling span, and which sample lies on which of them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from service.acoustics.frame import orthonormal, room_axes
from service.acoustics.geometry import Array, Cameras, Mask
from service.acoustics.planes import MAX_NOISE, Spread, capped, outermost, settle
from service.acoustics.samples import Samples

SIDES = 6  # low and high of each axis: 2 axis + (0 or 1); the last two are floor and ceiling
OBJECT, OUTSIDE, UNCLEAR = -1, -2, -3
MIN_TOLERANCE = 0.004  # of the room's diagonal: what is nearer to a wall is part of it
_LEAST_SHARE = 0.1  # of what faces one way must lie on a plane for it to be a side of the room
_LEAST_TOTAL = 0.01  # and of everything
_WALL_SHARE = 0.3  # of what faces one way is on a wall, if something lies this many times as far from the cameras:
_WINDOW_DEPTH = 2.5
_STRAY = 0.05  # share of everything that may lie beyond an unseen side
_ENOUGH = 800  # samples say where a side is
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
    axes = room_axes(samples.normals, areas, -cameras.rotation[:, 1])
    hull = _box(samples, cameras, axes, areas)
    straightened = _straighten(samples, hull, areas)
    if straightened is not None:
        hull = _box(samples, cameras, straightened, areas)
    return replace(hull, side=_assign(samples, hull))


def _box(samples: Samples, cameras: Cameras, axes: Array, areas: Array) -> Hull:
    along, facing = samples.points @ axes.T, samples.normals @ axes.T
    reach = np.abs(samples.rays @ axes.T) * samples.ranges[:, None]
    stands = cameras.centers @ axes.T
    inner = weighted_quantiles(along, areas, _STRAY)
    span = np.stack([np.minimum(inner[0], stands.min(axis=0)), np.maximum(inner[1], stands.max(axis=0))])
    diagonal = max(float(np.linalg.norm(span[1] - span[0])), 1e-6)
    floor = MIN_TOLERANCE * diagonal
    spread = [Spread(float(np.clip(samples.noise, 0.002, MAX_NOISE)), floor / 3)] * SIDES
    stands_at = np.stack([stands.min(axis=0), stands.max(axis=0)])
    # what is assumed ends behind the cameras; a plane that is found has none behind it, but for noise
    bounds = np.where(span == stands_at, span + np.array([[-1], [1]]) * _CAMERA_CLEARANCE * diagonal, span)
    seen, total = np.zeros(SIDES, bool), float(areas.sum())
    for side in range(SIDES):
        axis, end, sign = side // 2, side % 2, 2 * (side % 2) - 1
        facing_it = np.flatnonzero(facing[:, axis] * sign < -0.6)
        every = max(1, len(facing_it) // _ENOUGH)
        rows = facing_it[::every]
        found = _side(
            sign * along[rows, axis],
            areas[rows],
            reach[rows, axis],
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
    return Hull(axes, bounds[0], bounds[1], seen, tuple(spread), np.zeros(len(samples), np.intp))


def _side(
    along: Array, areas: Array, reach: Array, stand: float, total: float, spread: Spread, blur: float
) -> tuple[float, Spread] | None:
    """(coordinate, spread) of the outermost plane that a good part of what faces inwards lies on; `stand`: where the
    cameras are."""
    if along.size < 3:
        return None
    kernel = max(2 * spread.noise * float(np.median(reach)), blur)
    facing = float(areas.sum())
    start = outermost(along, areas, kernel, max(_LEAST_SHARE * facing, _LEAST_TOTAL * total))
    if start is None:
        return None
    # What is seen through a window or a door is behind the wall that they are in.
    wall = outermost(along, areas, kernel, _WALL_SHARE * facing)
    if wall is not None and start - stand > _WINDOW_DEPTH * max(wall - stand, blur):
        start = wall
    return settle(along, areas, reach, start, spread, 1.5 * blur)


def _straighten(samples: Samples, hull: Hull, areas: Array) -> Array | None:
    """Axes that fit the seen sides as planes, which noise moves less than it moves normals; None without a side."""
    along = samples.points @ hull.axes.T
    reach = np.abs(samples.rays @ hull.axes.T) * samples.ranges[:, None]
    sums = np.zeros((3, 3))
    for side in np.flatnonzero(hull.seen):
        axis = side // 2
        tolerance = hull.spread[side].tolerance(reach[:, axis])
        near = np.abs(along[:, axis] - (hull.low, hull.high)[side % 2][axis]) < 2 * tolerance
        near &= np.abs(samples.normals @ hull.axes[axis]) > 0.7
        if near.sum() < 12:
            continue
        weight = areas[near] / tolerance[near] ** 2
        centred = samples.points[near] - weight @ samples.points[near] / weight.sum()
        values, vectors = np.linalg.eigh((centred * weight[:, None]).T @ centred)
        normal = vectors[:, 0] * np.sign(vectors[:, 0] @ hull.axes[axis])
        if abs(normal @ hull.axes[axis]) > 0.97:
            # the narrower of the plane's extents says how well its tilt is known
            sums[axis] += normal * values[1] / max(float(weight.mean()), 1e-12)
    if not sums.any():
        return None
    return orthonormal(sums + 0.02 * np.linalg.norm(sums) * hull.axes)


def _assign(samples: Samples, hull: Hull) -> NDArray[np.intp]:
    along, facing = samples.points @ hull.axes.T, np.abs(samples.normals @ hull.axes.T)
    reach = np.abs(samples.rays @ hull.axes.T) * samples.ranges[:, None]
    cost = np.full((len(samples), SIDES), np.inf)
    beyond = np.zeros(len(samples), bool)
    for side in range(SIDES):
        axis, sign = side // 2, 2 * (side % 2) - 1
        tolerance = hull.spread[side].tolerance(reach[:, axis])
        distance = sign * (along[:, axis] - (hull.low, hull.high)[side % 2][axis]) / tolerance
        beyond |= distance > 1
        if hull.seen[side]:
            near = np.where(distance > 0, distance / 2, -distance)  # noise is all that can lie outside
            fits = (near < 1) & ((facing[:, axis] > 0.5) | (near < 0.4))
            cost[:, side] = np.where(fits, 3 * near + 1 - facing[:, axis], np.inf)
    nearest = cost.argmin(axis=1)
    best, second = np.partition(cost, 1, axis=1)[:, :2].T
    return np.where(
        np.isinf(best), np.where(beyond, OUTSIDE, OBJECT), np.where(second < best + _CLEARLY, UNCLEAR, nearest)
    )


def weighted_quantiles(along: Array, weights: Array, outside: float) -> Array:
    """[2, 3]: the coordinates of points [N, 3] below and above which lies the share `outside` of the weight."""
    bounds = np.empty((2, along.shape[1]))
    for axis in range(along.shape[1]):
        order = np.argsort(along[:, axis])
        cumulative = np.cumsum(weights[order])
        at = np.searchsorted(cumulative, cumulative[-1] * np.array([outside, 1 - outside])).clip(max=len(order) - 1)
        bounds[:, axis] = along[order[at], axis]
    return bounds
