"""Where a flat surface lies along its normal, in a noisy cloud of samples with other things in it."""

from dataclasses import dataclass

import numpy as np

from service.acoustics.geometry import Array

MAX_NOISE = 0.06  # of the depth, relative: beyond this, planes of a room cannot be told apart
_BLURRED_STEPS = 3


def outermost(along: Array, weights: Array, kernel: float, least: float) -> float | None:
    """The greatest coordinate with the weight `least` or more within `kernel` of it; None if there is none."""
    order = np.argsort(along)
    values, mass = along[order], np.concatenate([[0], np.cumsum(weights[order])])
    upper = np.searchsorted(values, values + kernel, side="right")
    lower = np.searchsorted(values, values - kernel, side="left")
    dense = np.flatnonzero(mass[upper] - mass[lower] >= least)
    return float(values[dense[-1]]) if dense.size else None


@dataclass(frozen=True)
class Spread:
    """How far samples of a plane lie off it: standard deviations of what grows with the distance and of what does not.

    `noise` is relative to a sample's distance from its camera along the normal; `slack` is a length.
    """

    noise: float
    slack: float

    def tolerance(self, reach: Array) -> Array:
        """[N] distances from the plane within which samples, `reach` [N] in front of their cameras, are of it."""
        return np.maximum(3 * self.noise * reach, 3 * self.slack)


def settle(
    along: Array, weights: Array, reach: Array, start: float, spread: Spread, blur: float
) -> tuple[float, Spread]:
    """The plane near `start` that coordinates [N] `along` its normal crowd around, and how closely they do.

    `reach` [N]: each sample's distance from its camera along the normal. `spread`: what it is at least; it is at most
    MAX_NOISE and ten times as slack. Moves to the weighted median of what is near until it stays there: within `blur`
    at first, then within what the spread allows.
    """
    offset, least = start, spread
    for step in range(10):
        near = np.abs(along - offset) < np.maximum(spread.tolerance(reach), blur if step < _BLURRED_STEPS else 0)
        if not near.any():
            break
        moved = weighted_median(along[near], weights[near])
        residual = np.abs(along[near] - moved)
        slack = 1.4826 * weighted_median(residual, weights[near])
        noise = 1.4826 * weighted_median(residual / np.maximum(reach[near], 1e-9), weights[near])
        spread = Spread(np.clip(noise, least.noise, MAX_NOISE), np.clip(slack, least.slack, 10 * least.slack))
        settled = abs(moved - offset) < 0.01 * least.slack
        offset = moved
        if settled and step >= _BLURRED_STEPS:
            break
    return offset, spread


def weighted_median(values: Array, weights: Array) -> float:
    """The value that half of the weight lies below; half way to the next where the weight is split evenly."""
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order])
    middle, above = np.searchsorted(cumulative, cumulative[-1] * np.array([0.5, 0.5 + 1e-9])).clip(max=len(order) - 1)
    return float((values[order[middle]] + values[order[above]]) / 2)


def capped(areas: Array) -> Array:
    """Areas, none above thrice the median: what is far away is large, and often wrong."""
    return np.minimum(areas, 3 * np.median(areas)) if len(areas) else areas
