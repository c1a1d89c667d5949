"""What ISO 3382-1 reads from an impulse response: decay times, clarity, definition and centre time, in octave bands."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ

Array = NDArray[np.float64]
Range = tuple[float, float]

EDT_DB = (0.0, -10.0)
T20_DB = (-5.0, -25.0)
T30_DB = (-5.0, -35.0)

_ONSET_DB = -20.0  # of the peak: where ISO 3382-1 has the direct sound begin
_HEADROOM_DB = 10.0  # by which noise has to be below what is read
_HIGHEST = 0.8  # of the Nyquist frequency, for the centre of a band
_ORDER = 3  # of the octave filters, Butterworth's
_BLOCK_S = 0.02  # over which levels are averaged when the end of the decay is looked for
_NOISE_SHARE = 0.1  # of the response's length, at its end
_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class RoomParameters:
    """Each [1 + 8]: broadband, then octave bands 125 Hz to 16 kHz; NaN where the response does not tell."""

    edt_s: Array
    t20_s: Array
    t30_s: Array
    c50_db: Array
    c80_db: Array
    d50: Array
    ts_s: Array


def schroeder(energy: Array) -> Array:
    """[..., n] energy per sample -> [..., n] energy from each sample on (Schroeder 1965)."""
    return np.asarray(np.cumsum(energy[..., ::-1], axis=-1)[..., ::-1])


def level_db(energy: Array) -> Array:
    """[..., n] in dB relative to the first; -inf where nothing is left, NaN where there never was anything."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(10 * np.log10(energy / energy[..., :1]))


def decay_time(level: Array, step_s: float, range_db: Range) -> Array:
    """[..., n] falling levels in dB -> [...] seconds for 60 dB, from the straight line through those in the range.

    NaN where the level does not fall through the whole range or has fewer than two samples within.
    """
    curves = level.reshape(-1, level.shape[-1])
    times = np.full(len(curves), np.nan)
    for i, curve in enumerate(curves):
        first, last = np.searchsorted(-curve, [-range_db[0], -range_db[1]])
        if last < len(curve) and last - first > 1:
            times[i] = -60 * step_s / np.polyfit(np.arange(last - first), curve[first:last], 1)[0]
    return times.reshape(level.shape[:-1])


def octave_bands(signal: Array, sample_rate: int) -> Array:
    """[n] -> [8, n] by zero-phase Butterworth filters of third order; NaN for bands too near the Nyquist frequency.

    The filters' own decay is that of a room with 0.05 s at 125 Hz and half that per octave.
    """
    size = 1 << (2 * len(signal) - 1).bit_length()
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    frequencies[0] = frequencies[1] * 1e-6
    spectrum = np.fft.rfft(signal, size)
    bands = np.full((len(BANDS_HZ), len(signal)), np.nan)
    for band, centre in enumerate(BANDS_HZ):
        if centre <= _HIGHEST * sample_rate / 2:
            detuning = 2**0.5 * (frequencies / centre - centre / frequencies)  # 1 at the edges of the octave
            bands[band] = np.fft.irfft(spectrum / np.sqrt(1 + detuning ** (2 * _ORDER)), size)[: len(signal)]
    return bands


def measure(impulse_response: NDArray[np.floating], sample_rate: int) -> RoomParameters:
    """impulse_response [n], of one channel. Times count from the direct sound.

    Noise is cut off where the decay meets it, and the tail continued by the decay's slope (Lundeby et al. 1995); decay
    times are NaN unless the noise is 10 dB below what they are read from. Raises ValueError for values that are not
    finite, for silence, and for less than 0.1 s.
    """
    response = np.asarray(impulse_response, np.float64)
    if response.ndim != 1 or len(response) < 0.1 * sample_rate:
        raise ValueError(
            f"an impulse response is one channel of at least 0.1 s, not an array of shape {response.shape}"
        )
    if not np.isfinite(response).all() or not response.any():
        raise ValueError("an impulse response is finite and not silent")
    response = response / np.abs(response).max()
    onset = int((np.abs(response) >= 10 ** (_ONSET_DB / 20)).argmax())
    signals = np.concatenate([response[None], octave_bands(response, sample_rate)])
    return RoomParameters(*np.array([_read(signal**2, onset, sample_rate) for signal in signals]).T)


def _read(energy: Array, onset: int, sample_rate: int) -> list[float]:
    """The fields of RoomParameters of one band."""
    if not energy[onset:].any() or np.isnan(energy[0]):
        return [float("nan")] * 7
    end = _end(energy[onset:], sample_rate)
    knee, tail, lag = end or (len(energy) - onset, 0.0, 0.0)
    # What a zero-phase filter puts ahead of the direct sound belongs to it.
    heard = energy[onset : onset + knee].copy()
    heard[0] += energy[:onset].sum()
    decay = schroeder(heard) + tail
    levels = level_db(decay)
    usable = levels[-1] + _HEADROOM_DB if end else 0.0
    times = [
        float(decay_time(levels, 1 / sample_rate, limits)) if limits[1] >= usable else float("nan")
        for limits in (EDT_DB, T20_DB, T30_DB)
    ]
    after50, after80 = (
        float(decay[split]) if (split := round(limit * sample_rate)) < knee else tail for limit in (0.05, 0.08)
    )
    total = float(decay[0])
    centre = (float(heard @ np.arange(knee)) / sample_rate + tail * (knee / sample_rate + lag)) / total
    return [*times, _ratio_db(total, after50), _ratio_db(total, after80), 1 - after50 / total, centre]


def _ratio_db(total: float, late: float) -> float:
    return 10 * float(np.log10((total - late) / late)) if 0 < late < total else float("inf" if late <= 0 else "-inf")


def _end(energy: Array, sample_rate: int) -> tuple[int, float, float] | None:
    """The sample at which the decay meets the noise, the energy that would have come after it, and that energy's mean
    delay in seconds; None where nothing stands out from the noise."""
    block = max(1, min(round(_BLOCK_S * sample_rate), len(energy) // 50))
    count = len(energy) // block
    means = energy[: count * block].reshape(count, block).mean(axis=1)
    peak, noise_from = int(means.argmax()), int(count * (1 - _NOISE_SHARE))
    found = None
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(means)
    for _ in range(_ROUNDS):
        noise = means[noise_from:].mean()
        if noise <= 0:
            return len(energy), 0.0, 0.0
        floor = 10 * np.log10(noise)
        above = levels[peak:] > floor + _HEADROOM_DB
        last = peak + (len(above) if above.all() else int(above.argmin()))
        if last - peak < 3:
            break
        slope, start = np.polyfit(np.arange(peak, last), levels[peak:last], 1)
        if slope >= 0:
            break
        knee = int(np.clip((floor - start) / slope, last, count))
        lag = -10 / np.log(10) / slope * block  # samples in which the energy falls to 1 / e
        found = knee * block, float(10 ** ((start + slope * knee) / 10) * lag), float(lag / sample_rate)
        # Noise for the next round: from where the decay is 10 dB below it, if that leaves enough
        noise_from = min(int(knee - _HEADROOM_DB / slope), int(count * (1 - _NOISE_SHARE)))
    return found
