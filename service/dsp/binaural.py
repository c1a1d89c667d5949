"""Interaural cues of binaural sound: time and level difference, coherence, and the azimuth that they suggest.

Channel 0 is the left ear. A positive time difference means that the left ear hears it first, a positive level
difference that the left ear hears it louder, a positive azimuth that the source is to the left (counter-clockwise seen
from above, as in AES69).

The time difference is the peak of the generalised cross-correlation with phase transform (Knapp and Carter 1976) within
1 ms: the correlation is evaluated on a grid of 10 us by the inverse transform itself, and its peak found from there by
Newton's method, so that it is not bound to whole samples. On reverberant sound it follows the direct sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ

MAX_LAG_S = 1e-3  # the largest difference that heads make is 0.8 ms
MIN_WINDOW_S = 0.2  # of speech, a thirtieth of a second is often off by 200 us

ITD_BAND_HZ = (100.0, 8000.0)
LOWPASS_BAND_HZ = (100.0, 1500.0)
LEVEL_BAND_HZ = (100.0, 20000.0)

MAX_ILD_DB = 60.0
MIN_LEVEL_DBFS = -70.0  # of the louder ear; a full-scale sine is 0

HEAD_RADIUS_M = 0.0875
SPEED_OF_SOUND_M_S = 343.0

_LAG_STEP_S = 10e-6
_NEWTON_STEPS = 2
_NEGLIGIBLE = 1e-12  # of the largest power: rounding, whose phase means nothing
_SIZE_MULTIPLE = 512  # of transform lengths, which then have small factors


@dataclass(frozen=True, eq=False)
class Cues:
    """Values of each of F windows, at least one; NaN where the sound does not tell."""

    itd_us: NDArray[np.float64]  # [F]
    ild_db: NDArray[np.float64]  # [F], 100 Hz to 20 kHz
    ild_band_db: NDArray[np.float64]  # [F, 8], octave bands
    coherence: NDArray[np.float64]  # [F], 0..1: largest normalised correlation within 1 ms
    azimuth_deg: NDArray[np.float64]  # [F], -90..90
    confidence: NDArray[np.float64]  # [F], 0..1: how far the correlation's peak stands out from the next
    level_dbfs: NDArray[np.float64]  # [F], of the louder ear; -inf for silence

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def of_silence(cls, num_windows: int) -> Self:
        unknown = np.full(num_windows, np.nan)
        return cls(
            itd_us=unknown,
            ild_db=unknown,
            ild_band_db=np.full((num_windows, len(BANDS_HZ)), np.nan),
            coherence=unknown,
            azimuth_deg=unknown,
            confidence=np.zeros(num_windows),
            level_dbfs=np.full(num_windows, -np.inf),
        )

    def gated(self, gate_db: float) -> "Cues":
        """Without time difference and azimuth where the level is more than gate_db below that of the loudest window.

        What is so much quieter is mostly reverberation and noise.
        """
        heard = self.level_dbfs >= self.level_dbfs.max() - gate_db
        quiet = {"itd_us": np.nan, "azimuth_deg": np.nan, "confidence": 0.0}
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        return Cues(**kept | {name: np.where(heard, kept[name], value) for name, value in quiet.items()})


class CueEstimator:
    """Measures windows of one length; holds tables and no state between calls, so threads may share it.

    The time difference is that of the sound within `itd_band_hz`. With LOWPASS_BAND_HZ it is the one by which ears
    locate a source from the waveform; around a head it is larger than that of the whole band (Kuhn 1977).
    """

    def __init__(
        self, sample_rate: int, window_samples: int, *, itd_band_hz: tuple[float, float] = ITD_BAND_HZ
    ) -> None:
        """Raises ValueError for windows below MIN_WINDOW_S."""
        if window_samples < round(MIN_WINDOW_S * sample_rate):
            raise ValueError(f"windows of {window_samples / sample_rate:g} s are below {MIN_WINDOW_S:g} s")
        self.sample_rate, self.window_samples = sample_rate, window_samples
        self._taper = np.hanning(window_samples + 2)[1:-1]
        self._size = -(-(window_samples + 2 * round(MAX_LAG_S * sample_rate)) // _SIZE_MULTIPLE) * _SIZE_MULTIPLE
        self._frequencies = np.fft.rfftfreq(self._size, 1 / sample_rate)
        self._itd_bins = self._bins(itd_band_hz[0], min(itd_band_hz[1], 0.45 * sample_rate))
        self._omega = 2 * np.pi * self._frequencies[self._itd_bins]
        count = round(MAX_LAG_S / _LAG_STEP_S)
        self._lags_s = _LAG_STEP_S * np.arange(-count, count + 1, dtype=np.float64)
        phase = self._omega[:, None] * self._lags_s
        # [2 * bins, lags]: a cross-spectrum's real and imaginary parts to its correlation
        self._steering = np.concatenate([np.cos(phase), -np.sin(phase)]).astype(np.float32)

    def __call__(self, windows: NDArray[np.float32]) -> Cues:
        """windows [F, 2, window_samples], full scale at 1.0."""
        if not windows.any():
            return Cues.of_silence(len(windows))
        spectra = np.fft.rfft(windows * self._taper, self._size)
        power = spectra.real**2 + spectra.imag**2
        # mean square of the samples as the taper weighs them, and a full-scale sine has 1/2
        power *= 4 / (self._size * np.square(self._taper).sum())
        ild_db, level_dbfs = _level_difference(power[..., self._bins(*LEVEL_BAND_HZ)].sum(-1))
        bands = [_level_difference(power[..., self._octave(centre)].sum(-1))[0] for centre in BANDS_HZ]
        itd_s, coherence, confidence = self._correlate(spectra[..., self._itd_bins])
        itd_s = np.where(np.isnan(ild_db), np.nan, itd_s)
        unknown = np.isnan(itd_s)
        return Cues(
            itd_us=1e6 * itd_s,
            ild_db=ild_db,
            ild_band_db=np.stack(bands, axis=-1),
            coherence=np.where(np.isnan(ild_db), np.nan, coherence),
            azimuth_deg=azimuth_deg(itd_s),
            confidence=np.where(unknown, 0.0, confidence),
            level_dbfs=level_dbfs,
        )

    def _bins(self, low_hz: float, high_hz: float) -> slice:
        first, stop = np.searchsorted(self._frequencies, [low_hz, high_hz])
        return slice(int(first), int(stop))

    def _octave(self, centre_hz: float) -> slice:
        """Of a band that the sample rate cuts off: nothing, so that it has no value."""
        whole = 1.25 * centre_hz <= self.sample_rate / 2
        return self._bins(centre_hz / 2**0.5, centre_hz * 2**0.5) if whole else slice(0)

    def _correlation(self, cross: NDArray[np.complex128]) -> NDArray[np.float32]:
        """cross [F, bins] -> [F, lags]."""
        correlation: NDArray[np.float32] = (
            np.concatenate([cross.real, cross.imag], axis=-1).astype(np.float32) @ self._steering
        )
        return correlation

    def _correlate(
        self, spectra: NDArray[np.complex128]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """spectra [F, 2, bins] -> time difference in seconds, coherence and confidence, each [F]."""
        left, right = spectra[:, 0], spectra[:, 1]
        cross = right * left.conj()
        energy = np.sqrt((np.abs(left) ** 2).sum(-1) * (np.abs(right) ** 2).sum(-1))
        coherence = _interpolated_peak(self._correlation(cross / _nonzero(energy)[:, None]))

        magnitude = np.abs(cross)
        heard = magnitude > _NEGLIGIBLE * magnitude.max(axis=-1, keepdims=True)
        phase = np.where(heard, cross / _nonzero(magnitude), 0)
        correlation = self._correlation(phase)
        best = correlation.argmax(axis=-1)
        peak = np.take_along_axis(correlation, best[:, None], axis=-1)[:, 0]
        confidence = 1 - np.clip(_second_peak(correlation, best), 0, None) / _nonzero(peak)
        itd_s = self._refine(phase, self._lags_s[best])
        return np.where(peak > 0, itd_s, np.nan), coherence, np.clip(confidence, 0, 1)

    def _refine(self, phase: NDArray[np.complex128], lag_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """From a point of the grid to the top of the correlation's peak near it."""
        start = lag_s
        for _ in range(_NEWTON_STEPS):
            turned = phase * np.exp(1j * lag_s[:, None] * self._omega)
            slope, curvature = -turned.imag @ self._omega, -turned.real @ self._omega**2
            step = np.where(curvature < 0, -slope / np.where(curvature < 0, curvature, -1), 0)
            lag_s = np.clip(lag_s + step, start - _LAG_STEP_S, start + _LAG_STEP_S)
        return np.clip(lag_s, -MAX_LAG_S, MAX_LAG_S)


def azimuth_deg(itd_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The azimuth in front, -90..90 degrees, of that time difference; the mirrored one behind is as likely.

    The inverse of a/c (theta + sin theta), a rigid sphere at high frequencies (Woodworth 1938); what is larger is 90
    degrees. Of a real head it is off by 1 degree up to 45, by 5 at 60 and by 11 at 75.
    """
    theta = np.linspace(-np.pi / 2, np.pi / 2, 3601)
    return np.interp(itd_s, HEAD_RADIUS_M / SPEED_OF_SOUND_M_S * (theta + np.sin(theta)), np.degrees(theta))


def _level_difference(energy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """energy [F, 2] of each ear, 1 for a full-scale sine -> left against right, and the louder, in dB, each [F]."""
    louder = energy.max(axis=-1)
    level = np.where(louder > 0, 10 * np.log10(_nonzero(louder)), -np.inf)
    left, right = np.maximum(energy, louder[:, None] * 10 ** (-MAX_ILD_DB / 10)).T
    ratio = 10 * np.log10(_nonzero(left) / _nonzero(right))
    return np.where(level >= MIN_LEVEL_DBFS, ratio, np.nan), level


def _second_peak(correlation: NDArray[np.float32], best: NDArray[np.int64]) -> NDArray[np.float32]:
    """The highest local maximum beside the best, of each row; the lowest value where there is none."""
    inner = correlation[:, 1:-1]
    tops = (inner > correlation[:, :-2]) & (inner >= correlation[:, 2:])
    tops &= np.arange(1, correlation.shape[1] - 1) != best[:, None]
    second: NDArray[np.float32] = np.where(tops, inner, correlation.min(axis=-1, keepdims=True)).max(axis=-1)
    return second


def _interpolated_peak(correlation: NDArray[np.float32]) -> NDArray[np.float64]:
    """The largest magnitude of each row, by a parabola through its neighbours; at most 1."""
    magnitude = np.abs(correlation).astype(np.float64)
    best = np.clip(magnitude.argmax(axis=-1), 1, magnitude.shape[1] - 2)
    before, top, after = (np.take_along_axis(magnitude, (best + i)[:, None], axis=-1)[:, 0] for i in (-1, 0, 1))
    curvature = before - 2 * top + after
    raised = top - np.where(curvature < 0, (after - before) ** 2 / (8 * np.where(curvature < 0, curvature, -1)), 0)
    peak: NDArray[np.float64] = np.clip(np.maximum(raised, magnitude.max(axis=-1)), 0, 1)
    return peak


def _nonzero(values: NDArray[np.floating]) -> NDArray[np.float64]:
    above: NDArray[np.float64] = np.maximum(values, np.finfo(np.float64).tiny, dtype=np.float64)
    return above
