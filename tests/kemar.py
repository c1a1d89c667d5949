"""A real head: impulse responses of the KEMAR manikin around it, what was measured of them, and sound through them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests import sounds

DATA = Path(__file__).parent / "unit" / "data"
SAMPLE_RATE = 44_100

with np.load(DATA / "kemar_el0_15deg.npz") as _file:
    _RESPONSES = dict(zip(_file["azimuth_deg_ccw"].tolist(), _file["hrir"], strict=True))
AZIMUTHS = tuple(_RESPONSES)  # degrees counter-clockwise: 90 is left


def response(azimuth: int) -> NDArray[np.float32]:
    """[2, 512], the left ear first."""
    return _RESPONSES[azimuth]


def cues() -> list[dict[str, Any]]:
    """What was measured of each response, with another estimator."""
    rows: list[dict[str, Any]] = json.loads((DATA / "kemar_cues.json").read_text())
    return rows


def noise(seconds: float = 2.5, seed: int = 0) -> NDArray[np.float32]:
    return (0.05 * np.random.default_rng(seed).standard_normal(int(seconds * SAMPLE_RATE))).astype(np.float32)


def speech() -> NDArray[np.float32]:
    """2.5 s at 44.1 kHz."""
    clip = sounds.clip()
    size = len(clip) * SAMPLE_RATE // sounds.SAMPLE_RATE
    spectrum = np.zeros(size // 2 + 1, np.complex128)
    spectrum[: len(clip) // 2 + 1] = np.fft.rfft(clip)
    return (np.fft.irfft(spectrum, size) * size / len(clip)).astype(np.float32)


def heard(sound: NDArray[np.float32], azimuth: int) -> NDArray[np.float32]:
    """sound [n] from that direction, as it arrives at the ears: [2, n]."""
    size = 1 << (len(sound) + 512).bit_length()
    spectra = np.fft.rfft(response(azimuth), size) * np.fft.rfft(sound, size)
    return np.fft.irfft(spectra, size)[:, : len(sound)].astype(np.float32)
