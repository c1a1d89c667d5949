"""The sound that came with the pictures: what the model hears of it at each, and where it came from."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import IO

import numpy as np
from numpy.typing import NDArray

from service.dsp.audio_features import AudioFeatureExtractor
from service.dsp.binaural import MIN_WINDOW_S, CueEstimator, Cues
from service.dsp.sync import FrameClock, WindowCutter
from service.errors import InvalidInput
from service.media.audio import AudioStream
from service.media.decoders import Decoders
from service.media.resample import Resampler

CUE_WINDOW_S = MIN_WINDOW_S  # centred on a picture's time
GATE_DB = 20.0  # below the loudest picture, directions are not told

_estimator = lru_cache(maxsize=4)(CueEstimator)  # its tables take megabytes, and it holds no state


@dataclass(frozen=True, eq=False)
class Sound:
    """features float32 [S, D] and valid bool [S] for the model; cues of S windows, None where nothing is binaural."""

    features: NDArray[np.float32]
    valid: NDArray[np.bool_]
    cues: Cues | None

    @classmethod
    def silence(cls, num_views: int, dim: int) -> "Sound":
        return cls(np.zeros((num_views, dim), np.float32), np.zeros(num_views, np.bool_), None)


@dataclass(frozen=True)
class Recording:
    """A file of sound, and the limit up to which it is read."""

    decoders: Decoders
    file: IO[bytes]
    content_type: str
    max_audio_s: float

    def open(self) -> AudioStream:
        """Raises as `Decoders.open_audio`, and InvalidInput for more than two channels."""
        stream = self.decoders.open_audio(self.file, self.content_type or None, max_audio_s=self.max_audio_s)
        if stream.channels > 2:
            with stream:
                raise InvalidInput(f"the audio has {stream.channels} channels; accepted are mono and binaural")
        return stream

    def middle_s(self) -> Fraction:
        """Half its length in seconds."""
        with self.open() as stream:
            for _ in stream.blocks():
                pass
            return Fraction(stream.num_samples, 2 * stream.sample_rate)


def hear(recording: Recording, clock: FrameClock, extractor: AudioFeatureExtractor) -> Sound:
    """Reads the recording as far as the pictures reach; `clock` counts samples at the extractor's rate.

    Raises as reading it does, and InvalidInput where it ends before the last picture or begins too long after it.
    """
    rate = clock.sample_rate
    with recording.open() as stream:
        listening = extractor.listen(clock)
        cues = _BinauralCues(clock) if stream.channels == 2 else None
        needed = int(clock.positions[-1]) + max(extractor.parameters.reach + extractor.parameters.n_fft, rate)
        count = 0
        for block in _resampled(stream, rate):
            listening.push(block)
            if cues:
                cues.push(block)
            count += block.shape[1]
            if count >= needed:
                break
    if count <= clock.positions[-1]:
        raise InvalidInput(
            f"the audio is shorter than the video: it ends {count / rate:.3f} s after its beginning, and the last "
            f"picture is at {int(clock.positions[-1]) / rate:.3f} s"
        )
    features, valid = listening.finish()
    if not valid.any():
        raise InvalidInput(
            f"the audio begins {-int(clock.positions[-1]) / rate:.3f} s after the last picture: none has any of it"
        )
    return Sound(features, valid, cues.finish() if cues else None)


class _BinauralCues:
    """Cues of one window per picture."""

    def __init__(self, clock: FrameClock) -> None:
        length = round(CUE_WINDOW_S * clock.sample_rate)
        self._estimate = _estimator(clock.sample_rate, length)
        self._cutter = WindowCutter(clock.windows(length), length)
        self._parts: list[Cues] = []

    def push(self, block: NDArray[np.float32]) -> None:
        self._parts += map(self._estimate, self._cutter.push(block))

    def finish(self) -> Cues:
        return Cues.join([*self._parts, *map(self._estimate, self._cutter.finish())]).gated(GATE_DB)


def _resampled(stream: AudioStream, rate: int) -> Iterator[NDArray[np.float32]]:
    resampler = Resampler(stream.sample_rate, rate, stream.channels)
    for block in stream.blocks():
        yield resampler.push(block)
    yield resampler.finish()
