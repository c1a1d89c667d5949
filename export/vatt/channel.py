"""What stands between a voice and a recording of it: a room, a microphone, a band. Drawn anew for each, so that a few
voices in silent studios teach to hear others elsewhere."""

import random

import numpy as np
from numpy.typing import NDArray
from scipy import fft

KNOTS_HZ = np.geomspace(80, 8_000, 7)  # where the response is drawn; straight lines over log frequency in between
COLOUR_DB = 5.0  # standard deviation of the response at each of them
BANDS_HZ, NARROW = (2_500.0, 9_000.0), 0.3  # where the band of that share of recordings ends
ORDER = 8  # of the low-pass filter, as Butterworth's
RT60_S, ROOMS = (0.1, 0.7), 0.5  # reverberation of that share of recordings
DIRECT_DB = (0.0, 15.0)  # energy of the direct sound over that of the reverberation


def recorded(samples: NDArray[np.float32], rate: int, rng: random.Random) -> NDArray[np.float32]:
    """[L] -> [L] of the same peak, as another microphone in another room has it."""
    size = fft.next_fast_len(len(samples) + round(RT60_S[1] * rate), real=True)
    spectrum = fft.rfft(samples, size) * _response(fft.rfftfreq(size, 1 / rate), rng)
    if rng.random() < ROOMS:
        spectrum *= 1 + fft.rfft(_reverberation(rate, rng), size)
    heard = fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
    peak = np.abs(heard).max(initial=0)
    return heard * np.float32(np.abs(samples).max(initial=0) / peak) if peak else samples


def _response(frequency_hz: NDArray[np.floating], rng: random.Random) -> NDArray[np.float32]:
    gains_db = [rng.gauss(0, COLOUR_DB) for _ in KNOTS_HZ]
    gain_db = np.interp(np.log(np.maximum(frequency_hz, 1)), np.log(KNOTS_HZ), gains_db)
    response = 10 ** (gain_db / 20)
    if rng.random() < NARROW:
        end_hz = np.exp(rng.uniform(*np.log(BANDS_HZ)))
        response /= np.sqrt(1 + (frequency_hz / end_hz) ** (2 * ORDER))
    return response.astype(np.float32)


def _reverberation(rate: int, rng: random.Random) -> NDArray[np.float32]:
    """Noise that decays by 60 dB in the reverberation time (Polack, 1988), without the direct sound."""
    rt60_s = rng.uniform(*RT60_S)
    time_s = np.arange(round(rt60_s * rate)) / rate
    noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(time_s))
    tail = noise * 10 ** (-3 * time_s / rt60_s)
    return (tail / np.sqrt(np.square(tail).sum()) * 10 ** (-rng.uniform(*DIRECT_DB) / 20)).astype(np.float32)
