"""An impulse response of the room for a Web Audio ConvolverNode, as a WAV file (48 kHz, float32).

It has what a room adds, reflections and reverberation, but not the direct sound, which a game plays itself. Time 0 is
when the direct sound arrives, and 1 is its amplitude one metre from the source: with `normalize = false`, wet and dry
sound are in proportion. Reflections up to the mixing time are those of the room's box; then noise takes over, which
decays in each octave band as the room does. The same scene gives the same samples.
"""

import io

import numpy as np
from numpy.typing import NDArray

from service.acoustics.air import SPEED_OF_SOUND_M_S
from service.acoustics.bands import BANDS_HZ, resample
from service.acoustics.reverberation import SABINE_S_PER_M
from service.acoustics.scene import AcousticScene
from service.errors import InvalidInput
from service.media.encode import AudioWriter
from service.models.acoustic_maps.formats.shoebox import Shoebox, shoebox

Array = NDArray[np.float64]

SAMPLE_RATE = 48_000
MAX_LENGTH_S = 6.0
MEDIA_TYPE = "audio/wav"

_DECAY = 6 * np.log(10)  # energy falls as exp(-_DECAY t / T)
SOURCE, LISTENER = (0.37, 0.56, 0.29), (0.62, 0.53, 0.69)  # in the box: at no symmetric place, at heights of a head
_EAR_M = 0.09  # of the two ears of a stereo response from the listener
_TAPS = 1024  # of the filter of one reflection
_OCTAVES = "realitykit10"  # bands of the noise: two below ours, which decay as the lowest of ours
_LOWEST_HZ = 31.25  # their first
_LIMIT = 1 << 14  # images of the source
_BLOCK = 512  # of them are filtered at once
_EDGE = 0.1  # octaves to each side of the edge of a band in which its neighbour takes over
_GUARD, _STEEP = 0.45, 0.9  # octaves, and log2 of the ratio of decay times from which on edges are so far off


def impulse_response(scene: AcousticScene, channels: int = 1) -> NDArray[np.float32]:
    """[channels, n]: as long as the slowest band takes to fall by 66 dB, at most MAX_LENGTH_S (then faded out).

    Two channels are two microphones 18 cm apart whose late reverberation is unrelated. A band that does not decay is
    taken to decay within MAX_LENGTH_S. T30 as measured in octave bands is within 5 % of the room's times where those of
    neighbouring bands differ by less than a factor of 1.6. Raises InvalidInput where the room's times are not known.
    """
    if scene.room.rt60_s is None:
        reasons = "; ".join(scene.warnings)
        raise InvalidInput(f"the reverberation of this room is not known, so it has no impulse response: {reasons}")
    rt60 = np.clip(np.nan_to_num(scene.room.rt60_s, nan=MAX_LENGTH_S), 0.02, MAX_LENGTH_S).astype(np.float64)
    box = shoebox(scene)
    length = int(SAMPLE_RATE * min(1.1 * rt60.max() + mixing_time_s(box), MAX_LENGTH_S))
    source, listener = np.array(SOURCE) * box.dims, np.array(LISTENER) * box.dims
    direct = float(np.linalg.norm(source - listener))
    volume = scene.room.volume_m3 or box.volume_m3
    air = np.asarray(scene.room.air_absorption_per_m, np.float64)
    result = np.empty((channels, length))
    for channel, side in enumerate((0.0,) if channels == 1 else (-_EAR_M, _EAR_M)):
        ear = listener + np.array([side, 0, 0])
        result[channel] = _early(box, air, source, ear, direct, length)
        result[channel] += _late(box, volume, rt60, direct, length, seed=channel)
    fade = min(length, SAMPLE_RATE // 50)
    result[:, length - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    return result.astype(np.float32)


def wav(scene: AcousticScene, channels: int = 1) -> bytes:
    """`impulse_response` as a file. Raises InvalidInput where the room's reverberation is not known."""
    buffer = io.BytesIO()
    with AudioWriter(buffer, "wav-float", SAMPLE_RATE, channels) as writer:
        writer.write(impulse_response(scene, channels))
    return buffer.getvalue()


def mixing_time_s(box: Shoebox) -> float:
    """When single reflections can no longer be told apart: 20 V / S + 12 ms (Lindau et al., JAES 60, 2012)."""
    return (20 * box.volume_m3 / box.surface_m2 + 12) / 1000


def _late_share(seconds: Array, box: Shoebox) -> Array:
    """Of the energy at each time that is noise: reflections become dense with the square of time."""
    return np.clip(seconds / mixing_time_s(box), 0, 1) ** 2


def _early(box: Shoebox, air: Array, source: Array, listener: Array, direct: float, length: int) -> Array:
    """[length]: reflections by image sources (Allen and Berkley, 1979), each with the absorption of walls and air."""
    reach = direct + mixing_time_s(box) * SPEED_OF_SOUND_M_S
    images, hits = _images(box.dims, source, listener, reach)
    distance = np.linalg.norm(images - listener, axis=1)
    within = (distance <= min(reach, direct + length / SAMPLE_RATE * SPEED_OF_SOUND_M_S)) & (hits.sum(axis=1) > 0)
    distance, hits = distance[within], hits[within]
    kept = np.log(np.maximum(1 - box.absorption, 1e-12))  # [6, 8]
    gain = np.exp((hits @ kept - np.outer(distance, air)) / 2) / distance[:, None]  # [images, 8]
    seconds = np.maximum(distance - direct, 0) / SPEED_OF_SOUND_M_S
    gain *= np.sqrt(1 - _late_share(seconds, box))[:, None]
    start = np.rint(seconds * SAMPLE_RATE).astype(int)
    result = np.zeros(length + _TAPS)
    for first in range(0, len(start), _BLOCK):
        block = slice(first, first + _BLOCK)
        for at, filtered in zip(start[block].tolist(), _minimum_phase(gain[block]), strict=True):
            result[at : at + _TAPS] += filtered
    return result[:length]


def _images(dims: Array, source: Array, listener: Array, reach: float) -> tuple[Array, Array]:
    """Positions [N, 3] of the images of the source, and how often each hits the six walls [N, 6].

    All that can be within `reach`, and no more than _LIMIT in rooms that are very flat.
    """
    most = int((_LIMIT / 8) ** (1 / 3))
    orders = [np.arange(-count, count + 1) for count in np.minimum(np.ceil(reach / (2 * dims)), most // 2).astype(int)]
    n = np.stack(np.meshgrid(*orders, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    mirrored = np.stack(np.meshgrid(*[[0, 1]] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    positions = (1 - 2 * mirrored) * source + 2 * n * dims
    low, high = np.abs(n - mirrored), np.abs(n) + 0 * mirrored
    hits = np.stack([low, high], axis=-1)  # per axis: the wall at 0, and the one opposite
    return positions.reshape(-1, 3), hits.reshape(-1, 6).astype(np.float64)


def _minimum_phase(gain: Array) -> Array:
    """Amplitudes [N, 8] in octave bands -> filters [N, _TAPS] that begin at once, by the cepstrum."""
    frequencies = np.maximum(np.fft.rfftfreq(_TAPS, 1 / SAMPLE_RATE), 1.0)
    octaves = np.log2(frequencies / BANDS_HZ[0]).clip(0, len(BANDS_HZ) - 1)
    below = np.minimum(octaves.astype(int), len(BANDS_HZ) - 2)
    share = octaves - below
    log_gain = np.log(np.maximum(gain, 1e-9))
    magnitude = log_gain[:, below] * (1 - share) + log_gain[:, below + 1] * share
    cepstrum = np.fft.irfft(magnitude, _TAPS)
    cepstrum[:, 1 : _TAPS // 2] *= 2
    cepstrum[:, _TAPS // 2 + 1 :] = 0
    return np.asarray(np.fft.irfft(np.exp(np.fft.rfft(cepstrum)), _TAPS))


def _late(box: Shoebox, volume: float, rt60: Array, direct: float, length: int, seed: int) -> Array:
    """[length]: noise with the energy and the decay that a diffuse field has in each band.

    Of energy 1 at one metre, 16 pi / A remains at every place (Kuttruff, section 5.1), A = 0.161 V / T.
    """
    offset = direct / SPEED_OF_SOUND_M_S
    seconds = np.arange(length) / SAMPLE_RATE
    share = np.sqrt(_late_share(seconds, box))
    result = np.zeros(length)
    times = resample(rt60, _OCTAVES)
    for noise, time in zip(_octave_noise(length, times, seed), times.tolist(), strict=True):
        energy = 16 * np.pi * time / (SABINE_S_PER_M * volume)
        envelope = np.sqrt(energy * _DECAY / time / SAMPLE_RATE) * np.exp(-_DECAY / 2 / time * (seconds + offset))
        result += noise * envelope
    return result * share


def _octave_noise(length: int, times: Array, seed: int) -> Array:
    """[10, length]: white noise of variance 1 in all, divided into octaves, whose level does not fluctuate.

    Chance makes the level of narrow bands wander by decibels; that is divided out over a twentieth of the decay `times`
    [10], so that the decay is the band's own.
    """
    size = 1 << (length - 1).bit_length()
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 1.0) / _LOWEST_HZ)
    random = np.random.default_rng(seed)
    bands = np.empty((len(times), length))
    for index, (time, weight) in enumerate(zip(times.tolist(), _windows(octaves, times), strict=True)):
        inside = np.flatnonzero(weight)
        spectrum = np.zeros(len(octaves), np.complex128)
        # where two bands overlap, powers add up only if they are unrelated
        real, imaginary = random.standard_normal((2, len(inside)))
        spectrum[inside] = weight[inside] * (real + 1j * imaginary)
        bands[index] = np.fft.irfft(spectrum, size)[:length]
        power = (weight**2).mean()
        width = max(int(SAMPLE_RATE * time / 20), 64)
        bands[index] *= np.sqrt(power / np.maximum(_running_mean(bands[index] ** 2, width), 1e-30))
    return bands


def _windows(octaves: Array, times: Array) -> Array:
    """[10, ...]: amplitudes of the bands at so many `octaves` above the first; their squares add up to 1 within them.

    Where a neighbour decays more slowly, an edge is up to _GUARD octaves inside it: what an octave filter lets in from
    there would otherwise outlast the band's own decay, and be taken for it.
    """
    slopes = np.diff(np.log2(times))
    edges = np.arange(len(times) + 1) - 0.5
    edges[1:-1] += _GUARD * np.clip(slopes / _STEEP, -1, 1)
    edges[-1] = np.inf
    rises = np.clip((octaves - edges[:, None]) / (2 * _EDGE) + 0.5, 0, 1) * np.pi / 2
    return np.asarray(np.sin(rises[:-1]) * np.cos(rises[1:]))


def _running_mean(values: Array, width: int) -> Array:
    total = np.append(0.0, np.cumsum(values))
    index = np.arange(len(values))
    first, last = np.maximum(index - width // 2, 0), np.minimum(index + width - width // 2, len(values))
    return np.asarray((total[last] - total[first]) / (last - first))
