"""Audio to the encoder's inputs: windows of mel, as soon as their samples are there.

Files and live streams take the same path, so the same samples give the same windows, bit for bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.dsp.mel import MelFrontEnd
from service.errors import InvalidInput, MalformedInput, PayloadTooLarge
from service.media.audio import AudioStream, Channel, check_format, check_samples, select_channels
from service.media.pcm import PcmFormat
from service.media.resample import Resampler
from service.models.tokenizer.layout import bucket
from service.tensors import Tensors


@dataclass(frozen=True)
class Window:
    """One window of every channel. mel [C, T, n_mels] in dB; the first num_frames of T are sound, db_min follows."""

    index: int
    mel: NDArray[np.float32]
    num_frames: int

    def inputs(self) -> Tensors:
        """For tokenizer_encoder; the channels are rows of the batch."""
        return {"mel": self.mel, "num_frames": np.full((len(self.mel), 1), self.num_frames, np.int32)}


class Windower:
    """Samples at the model's rate, in pieces of any size, to windows of mel. Memory: one window of samples."""

    def __init__(self, front_end: MelFrontEnd, window_frames: int, channels: int) -> None:
        self.num_samples = 0
        self._front_end, self._window_frames, self._channels = front_end, window_frames, channels
        parameters = front_end.parameters
        # the stretch of the signal that a window's frames look at, from half a frame before the first one's centre
        self._stretch = np.zeros((channels, (window_frames - 1) * parameters.hop_length + parameters.n_fft), np.float32)
        self._filled = parameters.n_fft // 2
        self._emitted = 0

    @property
    def num_frames(self) -> int:
        return self._front_end.parameters.num_frames(self.num_samples)

    def push(self, samples: NDArray[np.float32]) -> list[Window]:
        """samples [C, n] -> the windows that became complete."""
        self.num_samples += samples.shape[1]
        return self._fill(samples)

    def finish(self) -> list[Window]:
        """The windows that the end of the signal completes: zeros follow it. Raises InvalidInput if it was empty."""
        if not self.num_samples:
            raise InvalidInput("the audio has no samples")
        windows = self._fill(np.zeros((self._channels, self._front_end.parameters.n_fft // 2), np.float32))
        if self.num_frames > self._emitted * self._window_frames:
            self._stretch[:, self._filled :] = 0
            windows.append(self._emit())
        return windows

    def _fill(self, samples: NDArray[np.float32]) -> list[Window]:
        windows = []
        while samples.shape[1]:
            taken = samples[:, : self._stretch.shape[1] - self._filled]
            self._stretch[:, self._filled : self._filled + taken.shape[1]] = taken
            self._filled += taken.shape[1]
            samples = samples[:, taken.shape[1] :]
            if self._filled == self._stretch.shape[1]:
                windows.append(self._emit())
                self._filled -= self._window_frames * self._front_end.parameters.hop_length
                self._stretch[:, : self._filled] = self._stretch[:, -self._filled :]
        return windows

    def _emit(self) -> Window:
        num_frames = min(self._window_frames, self.num_frames - self._emitted * self._window_frames)
        parameters = self._front_end.parameters
        mel = np.full((self._channels, bucket(num_frames), parameters.n_mels), parameters.db_min, np.float32)
        for row, stretch in zip(mel, self._stretch, strict=True):
            row[:num_frames] = self._front_end.frames(stretch, num_frames)
        self._emitted += 1
        return Window(self._emitted - 1, mel, num_frames)


class AudioWindows:
    """Audio of any rate and channel count to windows; `num_samples` and `num_frames` are final after `finish`.

    `channel="each"` keeps the channels as rows, any other choice makes one row.
    """

    def __init__(
        self, sample_rate: int, channels: int, channel: Channel, front_end: MelFrontEnd, window_frames: int
    ) -> None:
        self.channels = channels if channel == "each" else 1
        self._channel: Channel = channel
        self._resampler = Resampler(sample_rate, front_end.parameters.sample_rate, self.channels)
        self._windower = Windower(front_end, window_frames, self.channels)

    @property
    def num_samples(self) -> int:
        """At the model's sample rate."""
        return self._windower.num_samples

    @property
    def num_frames(self) -> int:
        return self._windower.num_frames

    def push(self, samples: NDArray[np.float32]) -> list[Window]:
        """samples [channels, n] at the audio's own rate."""
        return self._windower.push(self._resampler.push(select_channels(samples, self._channel)))

    def finish(self) -> list[Window]:
        return self._windower.push(self._resampler.finish()) + self._windower.finish()

    def read(self, stream: AudioStream) -> Iterator[Window]:
        """Every window of a file. Raises what reading it raises, up to its last block."""
        for block in stream.blocks():
            yield from self.push(block)
        yield from self.finish()


class PcmWindows:
    """A live stream of raw PCM to windows; chunks may end anywhere, also inside a sample.

    Raises InvalidInput for a rate or channel count outside the ranges.
    """

    def __init__(
        self, pcm: PcmFormat, channel: Channel, front_end: MelFrontEnd, window_frames: int, max_audio_s: float
    ) -> None:
        check_format(pcm.sample_rate, pcm.channels)
        self.windows = AudioWindows(pcm.sample_rate, pcm.channels, channel, front_end, window_frames)
        self._pcm, self._max_audio_s = pcm, max_audio_s
        self._received = 0  # samples at the stream's own rate
        self._rest = b""

    def push(self, chunk: bytes) -> list[Window]:
        """Raises InvalidInput for samples that are not finite, PayloadTooLarge beyond the limit."""
        data = self._rest + chunk
        whole = len(data) - len(data) % self._pcm.bytes_per_frame
        self._rest = data[whole:]
        samples = self._pcm.samples(data[:whole])
        check_samples(samples, self._received)
        self._received += samples.shape[1]
        if self._received > self._max_audio_s * self._pcm.sample_rate:
            raise PayloadTooLarge(f"the audio is longer than {self._max_audio_s:g} s")
        return self.windows.push(samples)

    def finish(self) -> list[Window]:
        """Raises MalformedInput if the stream ended inside a sample, InvalidInput if it was empty."""
        if self._rest:
            raise MalformedInput(f"the stream ends inside a sample: {len(self._rest)} bytes are left over")
        return self.windows.finish()
