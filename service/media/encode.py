"""Samples to audio files, block by block into a file object: an hour is never in memory."""

from dataclasses import dataclass
from types import TracebackType
from typing import IO, Literal, Self, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream as AvStream
from numpy.typing import NDArray

Format = Literal["wav", "wav-float", "flac", "ogg"]


@dataclass(frozen=True)
class _Target:
    media_type: str
    container: str
    codec: str
    sample_format: str  # FFmpeg's name of what the encoder is fed; all of them interleaved


# Ogg carries Opus: the wheel of PyAV brings the real libopus, and for Vorbis only FFmpeg's experimental encoder
_TARGETS: dict[str, _Target] = {
    "wav": _Target("audio/wav", "wav", "pcm_s16le", "s16"),
    "wav-float": _Target("audio/wav", "wav", "pcm_f32le", "flt"),
    "flac": _Target("audio/flac", "flac", "flac", "s16"),
    "ogg": _Target("audio/ogg", "ogg", "libopus", "flt"),
}
_OPUS_BITS_PER_SECOND = 32_000  # a channel: transparent for speech at 16 kHz


def media_type(audio_format: Format) -> str:
    return _TARGETS[audio_format].media_type


class AudioWriter:
    """Writes one audio file into a seekable binary file object, which stays open.

    16-bit WAV and FLAC round to the nearest step and clip at full scale; "wav-float" keeps float32 as it is; "ogg" is
    Opus, for rates of 8, 12, 16, 24 and 48 kHz. Decoding gives exactly as many samples as were written.
    """

    def __init__(self, file: IO[bytes], audio_format: Format, sample_rate: int, channels: int) -> None:
        self._target = _TARGETS[audio_format]
        self._layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels}c")
        # bitexact: the same samples give the same bytes, and a WAV has the plain 44-byte header that old readers expect
        self._container = av.open(
            file, mode="w", format=self._target.container, container_options={"fflags": "+bitexact"}
        )
        stream = self._container.add_stream(self._target.codec, rate=sample_rate, layout=self._layout)
        self._stream = cast(AvStream, stream)  # which kind of stream it is follows from the codec
        self._stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if self._target.codec == "libopus":
            self._stream.codec_context.bit_rate = _OPUS_BITS_PER_SECOND * channels
            # families 0 and 1 mean mono, stereo and surround; beyond two, our channels are no loudspeaker layout
            self._stream.codec_context.options = {"mapping_family": "-1" if channels <= 2 else "255"}
        self._sample_rate, self._position = sample_rate, 0

    def write(self, block: NDArray[np.float32]) -> None:
        """block [C, n], full scale at 1.0."""
        if not block.shape[1]:
            return
        interleaved = np.ascontiguousarray(block.T).reshape(1, -1)
        if self._target.sample_format == "s16":
            interleaved = np.clip(np.rint(interleaved * 32768), -32768, 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(interleaved, format=self._target.sample_format, layout=self._layout)
        frame.sample_rate, frame.pts = self._sample_rate, self._position
        self._position += block.shape[1]
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
