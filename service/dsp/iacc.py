"""The interaural cross-correlation coefficient of ISO 3382-1, from a binaural impulse response of a room."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ
from service.dsp.binaural import MAX_LAG_S

EARLY_S = 0.08

_ONSET_DB = -20.0  # of the peak: where ISO 3382-1 has the direct sound begin
_OVERSAMPLING = 4


@dataclass(frozen=True, eq=False)
class Iacc:
    """max |IACF(tau)|, |tau| <= 1 ms, 0..1; NaN for a part or a band without energy.

    Each [1 + 8]: broadband, then octave bands 125 Hz to 16 kHz. Time counts from the direct sound.
    """

    early: NDArray[np.float64]  # 0 to 80 ms
    late: NDArray[np.float64]  # from 80 ms
    full: NDArray[np.float64]


def iacc(impulse_response: NDArray[np.float32], sample_rate: int) -> Iacc:
    """impulse_response [2, n], left ear first; octave bands are zero-phase and flat up to their edges."""
    num_samples = impulse_response.shape[1]
    onset = _onset(impulse_response)
    frequencies = np.fft.rfftfreq(2 * num_samples, 1 / sample_rate)
    spectrum = np.fft.rfft(impulse_response, 2 * num_samples)
    filtered = [impulse_response.astype(np.float64)]
    for centre in BANDS_HZ:
        inside = (frequencies >= centre / 2**0.5) & (frequencies < centre * 2**0.5) & (1.25 * centre <= sample_rate / 2)
        filtered.append(np.fft.irfft(spectrum * inside)[:, :num_samples])
    split = onset + round(EARLY_S * sample_rate)
    parts = [slice(onset, split), slice(split, None), slice(onset, None)]
    return Iacc(*(np.array([_coefficient(band[:, part], sample_rate) for band in filtered]) for part in parts))


def _onset(impulse_response: NDArray[np.float32]) -> int:
    magnitude = np.abs(impulse_response).max(axis=0)
    return int((magnitude >= magnitude.max() * 10 ** (_ONSET_DB / 20)).argmax())


def _coefficient(ears: NDArray[np.float64], sample_rate: int) -> float:
    energy = float(np.sqrt(np.square(ears).sum(axis=1).prod()))
    if not energy:
        return float("nan")
    size = 1 << (2 * ears.shape[1] - 1).bit_length()
    left, right = np.fft.rfft(ears, size)
    correlation = _OVERSAMPLING * np.fft.irfft(left.conj() * right, _OVERSAMPLING * size)
    reach = int(MAX_LAG_S * sample_rate * _OVERSAMPLING)
    within = np.concatenate([correlation[-reach:], correlation[: reach + 1]])
    return min(1.0, float(np.abs(within).max()) / energy)
