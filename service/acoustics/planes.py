"""Where a flat surface lies along its normal, in a noisy cloud of samples with other things in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.acoustics.geometry import Array

MAX_NOISE = 0.06  # of the depth, relative: beyond this, planes of a room cannot be told apart
_BLURRED_STEPS = 3  # at most
_SETTLED = 0.05  # of the slack: moving less is staying
_MIDDLE = np.array([0.5, 0.5 + 1e-9])


def outermost(along: Array, weights: Array, kernel: float, least: Sequence[float]) -> list[float | None]:
    """The greatest coordinate with so much weight, or more, within `kernel` of it, for each of `least`; None where
    there is none."""
    order = along.argsort()
    values, mass = along[order], np.empty(len(order) + 1)
    mass[0] = 0
    weights[order].cumsum(out=mass[1:])
    near = mass[values.searchsorted(values + kernel, side="right")]
    near -= mass[values.searchsorted(values - kernel)]
    dense = ((near >= weight).nonzero()[0] for weight in least)
    return [float(values[rows[-1]]) if rows.size else None for rows in dense]


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
    offset, least, blurred = start, spread, _BLURRED_STEPS
    for _ in range(10):
        near = np.flatnonzero(np.abs(along - offset) < np.maximum(spread.tolerance(reach), blur if blurred > 0 else 0))
        if not near.size:
            break
        at, weight = along[near], weights[near]
        moved = weighted_median(at, weight)
        residual = np.abs(at - moved)
        slack = 1.4826 * weighted_median(residual, weight)
        noise = 1.4826 * weighted_median(residual / np.maximum(reach[near], 1e-9), weight)
        spread = Spread(min(max(noise, least.noise), MAX_NOISE), min(max(slack, least.slack), 10 * least.slack))
        settled = abs(moved - offset) < _SETTLED * least.slack
        offset = moved
        if settled and blurred <= 0:
            break
        blurred = 0 if settled else blurred - 1
    return offset, spread


def weighted_median(values: Array, weights: Array) -> float:
    """The value that half of the weight lies below; half way to the next where the weight is split evenly."""
    middle, above = weighted_quantiles(values, weights, _MIDDLE)
    return (middle + above) / 2


def weighted_quantiles(values: Array, weights: Array, shares: Array) -> list[float]:
    """The values [N] below which lie the shares, each from 0 to 1, of the weight."""
    order = values.argsort()
    cumulative = weights[order].cumsum()
    found: list[float] = values[order[cumulative.searchsorted(cumulative[-1] * shares)]].tolist()
    return found


def capped(areas: Array) -> Array:
    """Areas, none above thrice the median: what is far away is large, and often wrong."""
    return np.minimum(areas, 3 * np.median(areas)) if len(areas) else areas
