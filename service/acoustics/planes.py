"""Where a flat surface lies along its normal, in a noisy cloud of samples with other things in it."""

import numpy as np

from service.acoustics.geometry import Array

MAX_NOISE = 0.06  # of the depth, relative: beyond this, planes of a room cannot be told apart


def outermost(along: Array, weights: Array, kernel: float, least: float) -> float | None:
    """The greatest coordinate with the weight `least` or more within `kernel` of it; None if there is none."""
    order = np.argsort(along)
    values, mass = along[order], np.concatenate([[0], np.cumsum(weights[order])])
    upper = np.searchsorted(values, values + kernel, side="right")
    lower = np.searchsorted(values, values - kernel, side="left")
    dense = np.flatnonzero(mass[upper] - mass[lower] >= least)
    return float(values[dense[-1]]) if dense.size else None


def settle(along: Array, weights: Array, reach: Array, start: float, noise: float, floor: float) -> tuple[float, float]:
    """The plane near `start` that coordinates [N] `along` its normal crowd around, and how noisy they are.

    `reach` [N]: each sample's distance from its camera along the normal, which its depth noise is proportional to;
    `noise`: what to begin with, relative to it; `floor`: tolerance, in units of length, that is always granted.
    Returns (offset, noise). Moves to the weighted median of what is near until it stays there.
    """
    offset = start
    for _ in range(8):
        near = np.abs(along - offset) < np.maximum(3 * noise * reach, floor)
        if not near.any():
            break
        moved = weighted_median(along[near], weights[near])
        residual = np.abs(along[near] - moved) / np.maximum(reach[near], 1e-9)
        noise = float(np.clip(1.4826 * weighted_median(residual, weights[near]), noise, MAX_NOISE))
        settled = abs(moved - offset) < 1e-3 * floor
        offset = moved
        if settled:
            break
    return offset, noise


def weighted_median(values: Array, weights: Array) -> float:
    """The value that half of the weight lies below; half way to the next where the weight is split evenly."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    middle, above = np.searchsorted(cumulative, cumulative[-1] * np.array([0.5, 0.5 + 1e-9])).clip(max=len(order) - 1)
    return float((values[order[middle]] + values[order[above]]) / 2)


def capped(areas: Array) -> Array:
    """Areas, none above thrice the median: what is far away is large, and often wrong."""
    return np.minimum(areas, 3 * np.median(areas)) if len(areas) else areas
