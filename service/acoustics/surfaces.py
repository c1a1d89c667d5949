"""What bounds the air of a room: cells of the hull and faces of objects, with area and surface, seen and unseen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.geometry import Array, Mask
from service.acoustics.objects import Floor, Objects, find_objects
from service.acoustics.room import SIDES, Hull
from service.acoustics.samples import PROPERTIES, Samples, sums_by_key

_HULL_CELLS = 700  # about how many cells the hull is divided into
_MAX_CELLS = 48  # along one axis
_PARTS = 9  # of a cell, each of which an object covers or not
_SEEN_SHARE = 0.1  # of a cell's area must be seen for it to count as seen


@dataclass(frozen=True, eq=False)
class Surfaces:
    """C pieces of surface: first the cells of the hull's sides, one side after the other, then six faces an object."""

    hull: Hull
    counts: NDArray[np.intp]  # [3] cells along each axis of the hull
    objects: Objects
    plane: NDArray[np.intp]  # [C] a side of the hull, or 6 + 6 object + face
    area: Array  # [C] that faces the air
    properties: Array  # [C, 13] means by area of what the samples have
    shares: Array  # [C, M] of the area, by material
    seen: Array  # [C] share of the area that samples show; of the hull's cells

    @property
    def seen_fraction(self) -> float:
        """Of the hull's area."""
        return float(self.seen_shares @ self.hull.sizes() / self.hull.sizes().sum())

    @property
    def seen_shares(self) -> Array:
        """[6] of the area of each side of the hull."""
        counts = side_counts(self.counts)
        return np.array([part.mean() for part in np.split(self.seen, np.cumsum(counts)[:-1])])

    @property
    def volume(self) -> float:
        """Of the air, objects subtracted."""
        return max(self.hull.volume - self.objects.volume, 0.1 * self.hull.volume)


def survey(samples: Samples, hull: Hull, material: NDArray[np.intp]) -> Surfaces:
    """The surfaces that `samples` are on, `material` [N] (numbers from 0) of each.

    An unseen cell of the hull takes its side's mean, and an unseen side that of the walls or of all. Where an object
    stands against the hull neither of the two counts.
    """
    cell = float(np.sqrt(hull.sizes().sum() / _HULL_CELLS))
    counts = np.round(hull.dims / cell).clip(1, _MAX_CELLS).astype(np.intp)
    values = np.zeros((len(samples), PROPERTIES + int(material.max(initial=0)) + 1))
    values[:, :PROPERTIES] = samples.properties
    values[np.arange(len(values)), PROPERTIES + material] = 1
    trust = samples.weights * (0.05 + samples.properties[:, -1])
    plane = np.repeat(np.arange(SIDES), side_counts(counts))
    means, seen = _hull_means(samples, hull, counts, values, trust, plane)
    parts = cell_points(hull, counts)
    centers = parts[:, _PARTS // 2]
    floor = plane == SIDES - 2
    objects = find_objects(samples, hull, values, trust, Floor(centers[floor], seen[floor]))
    # a little inside of the hull, a cell is in the object that stands against it
    inwards = np.array([hull.normal(side) for side in range(SIDES)])[plane] * (0.02 * hull.diagonal)
    covered = objects.covers((parts + inwards[:, None]).reshape(-1, 3)).reshape(-1, _PARTS).mean(axis=1)
    faces = np.arange(objects.areas.size) + SIDES
    together = np.concatenate([means, objects.values.reshape(-1, values.shape[1])])
    return Surfaces(
        hull,
        counts,
        objects,
        np.concatenate([plane, faces]),
        np.concatenate([(1 - covered) * cell_areas(hull, counts), objects.areas.reshape(-1)]),
        together[:, :PROPERTIES],
        together[:, PROPERTIES:],
        seen,
    )


def side_axes(side: int) -> tuple[int, int]:
    """The two axes that lie in a side; its cells are numbered along the second first."""
    return ((1, 2), (0, 2), (0, 1))[side // 2]


def side_counts(counts: NDArray[np.intp]) -> list[int]:
    """[6]: cells of each side."""
    a, b, c = counts.tolist()
    return [b * c, b * c, a * c, a * c, a * b, a * b]


def cell_areas(hull: Hull, counts: NDArray[np.intp]) -> Array:
    """[cells]."""
    return np.concatenate([np.full(n, size / n) for n, size in zip(side_counts(counts), hull.sizes(), strict=True)])


def cell_points(hull: Hull, counts: NDArray[np.intp]) -> Array:
    """[cells, 9, 3] in the world's frame: a grid of points in each cell, the middle one at its center."""
    points = []
    thirds = (np.arange(3) + 0.5) / 3
    for axis in range(3):
        a, b = side_axes(2 * axis)
        place = np.empty((2, counts[a], counts[b], 3, 3, 3))  # sides, cells and parts of them
        place[..., axis] = np.arange(2).reshape(2, 1, 1, 1, 1)
        place[..., a] = (np.arange(counts[a])[:, None, None, None] + thirds) / counts[a]
        place[..., b] = (np.arange(counts[b])[:, None, None] + thirds[:, None]) / counts[b]
        points.append(place.reshape(-1, _PARTS, 3))
    return np.asarray((np.concatenate(points) * hull.dims + hull.low) @ hull.axes)


def _hull_means(
    samples: Samples, hull: Hull, counts: NDArray[np.intp], values: Array, trust: Array, plane: NDArray[np.intp]
) -> tuple[Array, Array]:
    """[cells, P] means and [cells] the share of the area that was seen."""
    rows = np.flatnonzero(hull.side >= 0)
    side = hull.side[rows]
    index = np.floor((samples.points[rows] @ hull.axes.T - hull.low) / hull.dims * counts)
    index = index.clip(0, counts - 1).astype(np.intp)
    first, second = np.array([side_axes(number) for number in range(SIDES)]).T
    start = np.concatenate([[0], np.cumsum(side_counts(counts))])
    at = np.arange(len(rows))
    key = start[side] + index[at, first[side]] * counts[second[side]] + index[at, second[side]]
    normals = np.array([hull.normal(number) for number in range(SIDES)])
    area = samples.areas(normals[hull.side])[rows]  # those on no side are left out
    weight = trust[rows] * area
    cells, sizes = int(start[-1]), cell_areas(hull, counts)
    seen = np.minimum(np.bincount(key, area, cells) / sizes, 1)
    seen[seen < _SEEN_SHARE] = 0
    total = np.bincount(key, weight, cells)
    means = sums_by_key(key, cells, weight, values[rows]) / np.where(total > 0, total, 1)[:, None]
    _fill(means, plane, seen * sizes, trust @ values / trust.sum())
    return means, seen


def _fill(means: Array, plane: NDArray[np.intp], seen_area: Array, otherwise: Array) -> None:
    """Writes the mean of its side into every unseen cell, or of sides like it where none of the side is seen."""

    def mean(chosen: Mask) -> Array | None:
        weight = np.where(chosen, seen_area, 0)
        return weight @ means / weight.sum() if weight.sum() > 0 else None

    everything = mean(np.ones(len(plane), bool))
    everything = otherwise if everything is None else everything
    walls = mean(plane < SIDES - 2)
    filled = []
    for side in range(SIDES):
        like = everything if walls is None or side == SIDES - 2 else walls  # a ceiling is more like walls than a floor
        own = mean(plane == side)
        filled.append(like if own is None else own)
    unseen = seen_area == 0
    means[unseen] = np.array(filled)[plane[unseen]]
