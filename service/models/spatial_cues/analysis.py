"""A binaural recording to the cues of each frame: in blocks, an hour is never in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.dsp.binaural import ITD_BAND_HZ, LOWPASS_BAND_HZ, CueEstimator, Cues
from service.dsp.iacc import Iacc, iacc
from service.dsp.sync import FrameClock, WindowCutter, frames_within
from service.errors import InvalidInput
from service.media.audio import AudioStream
from service.media.decoders import Decoders
from service.media.resample import Resampler
from service.models.spatial_cues.schemas import SpatialCuesOptions

MAX_RATE_HZ = 48_000  # higher rates are resampled to it: no cue is measured above 22.6 kHz
MAX_IMPULSE_RESPONSE_S = 10.0

_estimator = lru_cache(maxsize=8)(CueEstimator)  # its tables take megabytes, and it holds no state


@dataclass(frozen=True, eq=False)
class Analysis:
    """The cues of a recording and the frames that they belong to."""

    options: SpatialCuesOptions
    clock: FrameClock
    cues: Cues
    num_samples: int  # of the sound, at clock.sample_rate
    identical: bool  # channels
    iacc: Iacc | None

    @property
    def warnings(self) -> list[str]:
        if self.identical:
            return ["The channels are identical: this is mono sound, and tells nothing about directions."]
        return []


def open_binaural(decoders: Decoders, file: BinaryIO, content_type: str, *, max_audio_s: float) -> AudioStream:
    """As `Decoders.open_audio`; also raises InvalidInput unless the audio has two channels."""
    audio = decoders.open_audio(file, content_type, max_audio_s=max_audio_s)
    if audio.channels != 2:
        with audio:
            raise InvalidInput(
                f"spatial cues are differences between two ears, so the audio has two channels, left and right; this "
                f"has {audio.channels}"
            )
    return audio


class Listener:
    """Measures while the sound arrives. Memory: a stack of windows, the cues, and an impulse response."""

    def __init__(self, sample_rate: int, options: SpatialCuesOptions) -> None:
        self._options = options
        self._rate = min(sample_rate, MAX_RATE_HZ)
        self._resampler = Resampler(sample_rate, self._rate, channels=2)
        self._clock = options.clock(self._rate)
        window = round(options.window_s * self._rate)
        self._estimator = _estimator(
            self._rate, window, itd_band_hz=LOWPASS_BAND_HZ if options.itd_lowpass else ITD_BAND_HZ
        )
        self._cutter = WindowCutter(self._clock.windows(window), window, max_samples=1 << 18)
        self._identical = True
        self._response: list[NDArray[np.float32]] = []

    def read(self, audio: AudioStream, blocks: Iterator[NDArray[np.float32]]) -> Iterator[Cues]:
        """Cues of the next frames, in order; closes the audio. Raises InvalidInput and what reading it raises."""
        with audio:
            for block in blocks:
                yield from self._push(self._resampler.push(block))
            yield from self._push(self._resampler.finish())
        self._clock = self._frames()
        yield from map(self._estimator, self._cutter.finish(self._clock.num_frames))

    def analysis(self, parts: list[Cues]) -> Analysis:
        """When everything is read; `parts` is what `read` gave."""
        options = self._options
        response = iacc(np.concatenate(self._response, axis=1), self._rate) if options.impulse_response else None
        cues = Cues.join(parts).gated(options.gate_db)
        return Analysis(options, self._clock, cues, self._cutter.num_samples, self._identical, response)

    def _push(self, block: NDArray[np.float32]) -> Iterator[Cues]:
        self._identical = self._identical and np.array_equal(block[0], block[1])
        if self._options.impulse_response:
            self._response.append(block)
            if self._cutter.num_samples > MAX_IMPULSE_RESPONSE_S * self._rate:
                raise InvalidInput(f"an impulse response is at most {MAX_IMPULSE_RESPONSE_S:g} s long")
        yield from map(self._estimator, self._cutter.push(block))
        if self._counted and self._cutter.num_samples > self._clock.boundaries[-1]:
            raise InvalidInput(
                f"the sound has more than {self._clock.num_frames} frames, which is all that are measured at once"
            )

    @property
    def _counted(self) -> bool:
        """Whether the sound decides how many frames there are."""
        return self._options.timestamps is None and self._options.num_frames is None

    def _frames(self) -> FrameClock:
        """Of the whole sound. Raises InvalidInput if none of them has any of it."""
        num_samples, clock = self._cutter.num_samples, self._clock
        if self._counted:
            duration_s = Fraction(num_samples, self._rate)
            clock = clock.first(frames_within(duration_s, self._options.rate, Fraction(self._options.offset_s)))
        if not clock.valid_samples(num_samples).any():
            raise InvalidInput(
                f"no frame has any of the sound, which lasts {num_samples / self._rate:g} s from "
                f"{self._options.offset_s:g} s after the first frame"
            )
        return clock
