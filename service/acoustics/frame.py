"""The axes of a room: three directions at right angles that most of its surfaces face."""

import numpy as np
from numpy.typing import NDArray

from service.acoustics.geometry import Array

_CANDIDATES = 80  # directions tried
_VOTERS = 1_000  # samples that judge them


def resampled(weights: Array, count: int) -> NDArray[np.intp]:
    """[count] rows of weights [N], not all of them 0, that stand for equal shares of the weight."""
    cumulative = np.cumsum(weights)
    shares = (np.arange(count) + 0.5) / count * cumulative[-1]
    return np.asarray(np.searchsorted(cumulative, shares).clip(max=len(weights) - 1))


def modes(voters: Array, count: int, apart: float) -> Array:
    """[<= count, 3]: the directions, sign aside, around which most of the normals [N, 3] lie, the commonest first.

    Two of them differ by at least the angle whose cosine is `apart`.
    """
    candidates = voters[:: -(-len(voters) // _CANDIDATES)]
    votes = np.maximum(np.abs(voters @ candidates.T) - np.cos(np.deg2rad(15)), 0)
    totals = votes.sum(axis=0)
    found: list[Array] = []
    free = np.ones(len(candidates), bool)
    while len(found) < count and free.any():
        best = int(np.where(free, totals, -1).argmax())
        if totals[best] <= 0:
            break
        direction = (np.sign(voters @ candidates[best]) * votes[:, best]) @ voters
        direction /= np.linalg.norm(direction)
        found.append(direction)
        free &= np.abs(candidates @ direction) < apart
    return np.array(found).reshape(-1, 3)


def room_axes(normals: Array, weights: Array, camera_up: Array) -> Array:
    """[3, 3] rows: two horizontal axes and up, right-handed, from normals [N, 3] and the cameras' up vectors [S, 3].

    Up is the axis that is nearest to the mean of the cameras' up vectors.
    """
    mean_up = camera_up.sum(axis=0)
    mean_up = mean_up / np.linalg.norm(mean_up) if np.linalg.norm(mean_up) > 1e-6 else camera_up[0]
    voters = normals[resampled(weights, _VOTERS)]
    found = modes(voters, 3, apart=0.5)
    first = found[0] if len(found) else mean_up
    across = next((mode for mode in found[1:] if abs(mode @ first) < 0.35), None)
    if across is None:  # one plane alone: the cameras say the rest
        sideways = np.eye(3)[np.abs(first).argmin()]
        across = mean_up if abs(mean_up @ first) < 0.9 else sideways
    axes = orthonormal(np.stack([first, across - (across @ first) * first, np.cross(first, across)]))
    for degrees in (30, 18, 12):
        axes = _refine(axes, voters, np.cos(np.deg2rad(degrees)))
    vertical = int(np.abs(axes @ mean_up).argmax())
    up = axes[vertical] * (np.sign(axes[vertical] @ mean_up) or 1)
    right = axes[(vertical + 1) % 3]
    return np.stack([right, np.cross(up, right), up])


def orthonormal(vectors: Array) -> Array:
    """The orthonormal rows nearest to `vectors` [3, 3] (polar decomposition); their sense of rotation is kept."""
    left, _, right = np.linalg.svd(vectors)
    return np.asarray(left @ right)


def _refine(axes: Array, normals: Array, least: float) -> Array:
    """Axes that fit the normals which lie nearest to each (orthogonal Procrustes)."""
    along = normals @ axes.T
    nearest = np.abs(along).argmax(axis=1)
    sign = np.where((np.arange(3) == nearest[:, None]) & (np.abs(along) > least), np.sign(along), 0)
    sums = sign.T @ normals
    # an axis that nothing faces keeps its direction by a little weight of its own
    return orthonormal(sums + 1e-3 * (np.linalg.norm(sums) + 1e-12) * axes)
