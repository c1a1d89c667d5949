"""A closed mesh of a room: its hull cut where materials change, and a closed box for each object."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.geometry import Array
from service.acoustics.room import SIDES
from service.acoustics.surfaces import Surfaces, cell_areas, side_axes, side_counts

MIN_TRIANGLES = 12  # a box
_BOX = 12
_LEAST_CUT = 0.002  # of the hull's area must be of another material for a cut to be made


@dataclass(frozen=True, eq=False)
class Mesh:
    """positions [V, 3]; triangles [T, 3] counter-clockwise seen from the air; `plane` and `material` [T], where the
    planes are those of `Surfaces`. `dropped`: objects that found no room in the budget."""

    positions: Array
    triangles: NDArray[np.intp]
    plane: NDArray[np.intp]
    material: NDArray[np.intp]
    dropped: int


def build_mesh(surfaces: Surfaces, max_triangles: int) -> Mesh:
    """At most `max_triangles` (12 or more) triangles: the hull coarser than it is known, and the largest objects."""
    objects = surfaces.objects
    total = len(objects.low)
    # an object is worth more than a finer cut of the hull, up to half of the budget
    count = min(total, max(0, max_triangles // 2 // _BOX))
    corners, quads, plane, material = _shell(surfaces, (max_triangles - _BOX * count) // 2)
    count = min(total, (max_triangles - 2 * len(quads)) // _BOX)
    largest = np.argsort(-objects.areas.sum(axis=1), kind="stable")[:count]
    shares = surfaces.shares[surfaces.plane >= SIDES].reshape(total, SIDES, surfaces.shares.shape[1])
    positions, triangles = [corners], [_split(quads)]
    for number in np.sort(largest).tolist():
        box, faces = _box(objects.axes[number], objects.low[number], objects.high[number])
        triangles.append(_split(faces + sum(map(len, positions))))
        positions.append(box)
        plane = np.concatenate([plane, SIDES + SIDES * number + np.arange(SIDES)])
        material = np.concatenate([material, shares[number].argmax(axis=1)])
    joined = np.concatenate(triangles)
    return Mesh(np.concatenate(positions), joined, np.repeat(plane, 2), np.repeat(material, 2), total - count)


def _split(quads: NDArray[np.intp]) -> NDArray[np.intp]:
    """[Q, 4] -> triangles [2 Q, 3]."""
    return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def _box(axes: Array, low: Array, high: Array) -> tuple[Array, NDArray[np.intp]]:
    """Corners [8, 3], and quads [6, 4] that face outwards, in the order of an object's faces."""
    corner = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return np.where(corner, high, low) @ axes, np.array(quads)


def _shell(surfaces: Surfaces, max_quads: int) -> tuple[Array, NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """(corners, quads, plane, material) of the hull: one grid around the whole box, so that no edge stands open."""
    hull, (lines, shares) = surfaces.hull, _cut(surfaces, max_quads)
    counts = [len(line) - 1 for line in lines]
    quads: list[NDArray[np.intp]] = []
    for side in range(SIDES):
        a, b = side_axes(side)
        at = np.zeros((counts[a], counts[b], 4, 3), np.intp)
        at[..., side // 2] = counts[side // 2] * (side % 2)
        at[..., a] = np.arange(counts[a])[:, None, None] + [0, 1, 1, 0]
        at[..., b] = np.arange(counts[b])[:, None] + [0, 0, 1, 1]
        inwards = (side % 2 == 0) != (side // 2 == 1)  # the cross product of the axes a and b
        quads.append((at if inwards else at[:, :, ::-1]).reshape(-1, 4, 3))
    lattice = np.concatenate(quads)
    stride = np.array([(counts[1] + 1) * (counts[2] + 1), counts[2] + 1, 1])
    keys, index = np.unique(lattice @ stride, return_inverse=True)
    steps = np.stack([keys // stride[0], keys // stride[1] % (counts[1] + 1), keys % (counts[2] + 1)], axis=1)
    corners = np.stack([line[step] for line, step in zip(lines, steps.T, strict=True)], axis=1)
    material = np.concatenate([share.reshape(-1, share.shape[-1]).argmax(axis=1) for share in shares])
    plane = np.repeat(np.arange(SIDES), side_counts(np.array(counts)))
    return corners @ hull.axes, index.reshape(-1, 4), plane, material


def _cut(surfaces: Surfaces, max_quads: int) -> tuple[list[Array], list[Array]]:
    """Where the hull is cut along each axis, and [2, a, b, materials] areas of the cells of each axis' two sides.

    Begins with the cells of `surfaces` and takes away, one after the other, the cut that separates least.
    """
    hull, counts = surfaces.hull, surfaces.counts
    lines = [np.linspace(hull.low[axis], hull.high[axis], counts[axis] + 1) for axis in range(3)]
    sizes = cell_areas(hull, counts)
    areas = np.split(surfaces.shares[: len(sizes)] * sizes[:, None], np.cumsum(side_counts(counts))[1:-1:2])
    shares = [part.reshape(2, *counts[[*side_axes(2 * axis)]], -1) for axis, part in enumerate(areas)]
    least = _LEAST_CUT * float(hull.sizes().sum())
    while True:
        costs = _separated(shares)
        axis = int(np.argmin([cost.min(initial=np.inf) for cost in costs]))
        if not costs[axis].size:
            return lines, shares
        quads = sum(share[..., 0].size for share in shares)
        if costs[axis].min() >= least and quads <= max_quads:
            return lines, shares
        _join(lines, shares, axis, costs[axis])


def _separated(shares: list[Array]) -> list[Array]:
    """[cuts] of each axis: area that would get another material if that cut across it were taken away."""
    costs: list[list[Array]] = [[], [], []]
    for facing, share in enumerate(shares):
        material, size = share.argmax(axis=3), share.sum(axis=3)
        for position, axis in enumerate(side_axes(2 * facing), 1):
            kind, area = material.swapaxes(1, position), size.swapaxes(1, position)
            lost = np.where(kind[:, 1:] != kind[:, :-1], np.minimum(area[:, 1:], area[:, :-1]), 0)
            costs[axis].append(lost.sum(axis=(0, 2)))
    return [first + second for first, second in costs]


def _join(lines: list[Array], shares: list[Array], axis: int, cost: Array) -> None:
    """Takes away every cut that separates nothing, or else the one that separates least."""
    free = cost == 0
    if not free.any():
        free[cost.argmin()] = True
    lines[axis] = lines[axis][~np.concatenate([[False], free, [False]])]
    starts = np.flatnonzero(np.concatenate([[True], ~free]))
    for facing in {0, 1, 2} - {axis}:
        position = 1 + side_axes(2 * facing).index(axis)
        shares[facing] = np.add.reduceat(shares[facing], starts, axis=position)
