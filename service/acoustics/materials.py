"""Materials: the database of named ones, the nearest to a measured absorption, and groups of like samples.

Absorption is compared as its square root: equal steps are then about as audible at 0.02 as at 0.8.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from service.acoustics.frame import resampled
from service.acoustics.geometry import Array
from service.acoustics.samples import ABSORPTION, BANDS, SCATTERING

LIKE = 0.1  # distance within which surfaces count as one material
_MAX_MATERIALS = 12
_LEAST_SHARE = 0.01  # of the area, for a group of samples to be a material of its own
_VOTERS = 500
_SCATTERING_WEIGHT = 0.5

_Features = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NamedMaterials:
    """Absorbers of the database of pyroomacoustics (after Vorlaender, Auralization, 2008)."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    descriptions: tuple[str, ...]
    absorption: Array  # [names, 8] octave bands 125 Hz to 16 kHz; flat above the last band of the source (4 or 8 kHz)

    def nearest(self, absorption: NDArray[np.floating]) -> tuple[str, float]:
        """(name, distance) for absorption [8]: the root mean square over the bands of the difference of its roots."""
        difference = np.sqrt(self.absorption) - np.sqrt(np.clip(np.asarray(absorption, np.float64), 0, 1))
        distance = np.sqrt((difference**2).mean(axis=1))
        best = int(distance.argmin())
        return self.names[best], float(distance[best])


@cache
def named_materials() -> NamedMaterials:
    """All absorbers; `materials.json` says where they are from."""
    table = json.loads(resources.files(__package__).joinpath("materials.json").read_text(encoding="utf-8"))[
        "absorption"
    ]
    return NamedMaterials(
        tuple(table),
        tuple(entry["group"] for entry in table.values()),
        tuple(entry["description"] for entry in table.values()),
        np.array([extend(entry["coefficients"]) for entry in table.values()]),
    )


def extend(coefficients: list[float]) -> Array:
    """[8] from the lower bands alone: the rest repeats the last, and laboratory values above 1 count as 1."""
    return np.array(coefficients + coefficients[-1:] * (BANDS - len(coefficients))).clip(0, 1)


def group(properties: Array, weights: Array) -> NDArray[np.intp]:
    """[N] numbers from 0 of the material of each sample, given properties [N, 13]: the commonest first.

    Finds the densest places, LIKE apart, among absorption and scattering; the same samples give the same numbers.
    """
    features = _features(properties)
    voters = features[resampled(weights, _VOTERS)]
    centers = _modes(voters)
    for _ in range(3):
        nearest = _squared(voters, centers).argmin(axis=1)
        present = np.unique(nearest)
        centers = _merge(np.stack([voters[nearest == number].mean(axis=0) for number in present]))
    distances = _squared(features, centers)
    shares = np.bincount(distances.argmin(axis=1), weights, len(centers))
    kept = np.flatnonzero(shares >= _LEAST_SHARE * shares.sum())
    kept = kept[np.argsort(-shares[kept], kind="stable")]
    return np.asarray(distances[:, kept].argmin(axis=1))


def _features(properties: Array) -> _Features:
    """[N, 9]: Euclidean distances between rows are distances between materials."""
    features = np.empty((len(properties), BANDS + 1), np.float32)
    features[:, ABSORPTION] = np.sqrt(properties[:, ABSORPTION].astype(np.float32) / BANDS)
    features[:, BANDS] = _SCATTERING_WEIGHT * properties[:, SCATTERING]
    return features


def _modes(voters: _Features) -> _Features:
    near = (_squared(voters, voters) < LIKE**2).astype(np.float32)
    left = np.ones(len(voters), bool)
    centers: list[_Features] = []
    while len(centers) < _MAX_MATERIALS and left.sum() > _LEAST_SHARE * len(voters):
        best = int(np.where(left, near @ left.astype(np.float32), -1).argmax())
        centers.append(voters[(near[best] > 0) & left].mean(axis=0))
        left &= _squared(voters, centers[-1][None])[:, 0] > LIKE**2
        left[best] = False
    return np.stack(centers)


def _merge(centers: _Features) -> _Features:
    """The centers, less those that lie within LIKE of an earlier one."""
    like = _squared(centers, centers) <= LIKE**2
    kept: list[int] = []
    for number in range(len(centers)):
        if not like[number, kept].any():
            kept.append(number)
    return np.asarray(centers[kept])


def _squared(a: _Features, b: _Features) -> _Features:
    distances = a @ b.T
    distances *= -2
    distances += np.einsum("ni,ni->n", a, a)[:, None]
    distances += np.einsum("ni,ni->n", b, b)
    return distances
