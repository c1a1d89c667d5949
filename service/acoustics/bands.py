"""The eight octave bands of every spectrum here, and their resampling to the bands of each engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Edges = tuple[tuple[float, float], ...]

BANDS_HZ = (125, 250, 500, 1000, 2000, 4000, 8000, 16000)


def octave_edges(centres_hz: Sequence[float] = BANDS_HZ) -> Edges:
    """Half an octave to both sides of each centre."""
    return tuple((centre / 2**0.5, centre * 2**0.5) for centre in centres_hz)


@dataclass(frozen=True, eq=False)
class Scheme:
    """The bands of an engine, and each of its values as a mean over ours."""

    edges_hz: Edges  # [k]
    weights: Array  # [k, 8]; rows sum to 1, nothing is negative


def overlap(edges_hz: Edges) -> Scheme:
    """A value per band: the mean over it with equal energy in every octave, as pink noise has.

    Weights are the overlap in log-frequency of the band with BANDS_HZ, which know nothing beyond 88 Hz and 22.6 kHz.
    """
    wanted, known = np.array(edges_hz)[:, None], np.array(octave_edges())[None]
    lower, upper = np.maximum(wanted[..., 0], known[..., 0]), np.minimum(wanted[..., 1], known[..., 1])
    weights = np.log2(np.maximum(upper / lower, 1))
    return Scheme(edges_hz, weights / weights.sum(axis=1, keepdims=True))


def octaves(centres_hz: Sequence[float]) -> Scheme:
    """Octave bands: ours where we have them, the nearest of ours beyond."""
    distance = np.abs(np.log2(np.array(centres_hz)[:, None] / np.array(BANDS_HZ)))
    return Scheme(octave_edges(centres_hz), np.eye(8)[distance.argmin(axis=1)])


def points(centres_hz: Sequence[int], edges_hz: Edges) -> Scheme:
    """Bands that take the value at one of BANDS_HZ."""
    return Scheme(edges_hz, np.eye(8)[[BANDS_HZ.index(centre) for centre in centres_hz]])


def mean(centres_hz: Sequence[int]) -> Scheme:
    """One number: the arithmetic mean of some of BANDS_HZ."""
    edges = octave_edges(centres_hz)
    return Scheme(((edges[0][0], edges[-1][1]),), np.isin(BANDS_HZ, centres_hz)[None] / len(centres_hz))


STEAM_EDGES_HZ = ((0.0, 800.0), (800.0, 8000.0), (8000.0, 22000.0))  # Steam Audio 4.8, core/src/core/bands.cpp

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "octave8": octaves(BANDS_HZ),  # engines that take any frequencies: Meta's ray tracing, OpenXR, SoundSpaces
        "steam3": overlap(STEAM_EDGES_HZ),
        # Some presets of Steam Audio are textbook values at these frequencies: to be compared with those.
        "preset250_1k_4k": points((250, 1000, 4000), STEAM_EDGES_HZ),
        "steam11": octaves((15.625, 31.25, 62.5, *BANDS_HZ)),  # built with IPL_ENABLE_OCTAVE_BANDS
        "meta4": overlap(((0.0, 176.0), (176.0, 775.0), (775.0, 3408.0), (3408.0, 22050.0))),  # Meta XR shoebox rooms
        "resonance9": octaves((31.25, 62.5, *BANDS_HZ[:-1])),
        "wwise4": overlap(((0.0, 250.0), (250.0, 1000.0), (1000.0, 4000.0), (4000.0, 24000.0))),
        "realitykit10": octaves((31.25, 62.5, *BANDS_HZ)),
        "nrc": mean((250, 500, 1000, 2000)),  # the bands of ASTM C423's coefficient, not rounded to 0.05 as it is
        "mid": mean((500, 1000, 2000)),  # Project Acoustics
        "broadband": mean(BANDS_HZ),
    }
)


def resample(values: ArrayLike, scheme: str) -> Array:
    """[..., 8] in BANDS_HZ -> [..., k] in the bands of `SCHEMES[scheme]`; energies, absorption or times.

    A mean over values lies between them; it is NaN where one that it is made of is not finite. Raises ValueError for a
    scheme that there is not, and for another number of bands.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no bands are called {scheme!r}; there are {', '.join(SCHEMES)}")
    array, weights = np.asarray(values, np.float64), SCHEMES[scheme].weights
    if array.shape[-1:] != (len(BANDS_HZ),):
        raise ValueError(f"values in {len(BANDS_HZ)} bands are resampled, not of shape {array.shape}")
    known = np.isfinite(array)
    result = np.where(known, array, 0) @ weights.T
    result[~known @ (weights.T > 0)] = np.nan
    return np.asarray(result)
