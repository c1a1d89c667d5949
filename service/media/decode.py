"""Audio files to float32 samples through PyAV, frame by frame: nothing here is as large as the file.

Knows nothing of limits: `service.media.audio` asks for the next block only while they are kept.
"""

import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO, Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream as AvStream
from av.container import InputContainer
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput, UnsupportedMedia
from service.media import containers

_CODECS = {
    *("aac", "alac", "flac", "libopus", "mp3", "mp3float", "opus", "vorbis"),
    *("pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"),
    *("pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "adpcm_ima_wav", "adpcm_ms"),
}
_BLOCK_SAMPLES = 1 << 14
_EDIT_TICK_S = 0.002
_PRE_SKIP_S = 0.1  # more than Opus encoders prepend; a lost page is longer
# FFmpeg's sample formats: numpy's type, the value of zero and that of full scale
_FORMATS: dict[str, tuple[np.dtype[Any], int, int]] = {
    "u8": (np.dtype(np.uint8), 128, 128),
    "s16": (np.dtype(np.int16), 0, 1 << 15),
    "s32": (np.dtype(np.int32), 0, 1 << 31),
    "flt": (np.dtype(np.float32), 0, 1),
    "dbl": (np.dtype(np.float64), 0, 1),
}


class Decoder:
    """The first audio track of a file. Attributes: sample_rate in Hz, channels, declared (samples, or None if unknown).

    Raises MalformedInput for a damaged file, UnsupportedMedia for a codec that is not read, InvalidInput for a file
    without audio.
    """

    def __init__(self, file: IO[bytes], name: str, start: int) -> None:
        hidden = containers.check(file, name, start)
        self.declared = containers.flac_samples(file, start) if name == "flac" else None
        with _translated(name):
            self._container = _open(_Visible(file, start, hidden), name)
        self._frames = self._decode(name, self.declared)
        try:
            first = next(self._frames, None)
            if first is None:
                raise InvalidInput("the audio has no samples")
        except BaseException:
            self.close()
            raise
        self._first = first
        self.sample_rate, self.channels = first.sample_rate, first.layout.nb_channels

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Samples [C, n], full scale at 1.0, a third of a second or more at a time; once."""
        pending, count, sample_format = [self._first], self._first.samples, self._first.format.name
        for frame in self._frames:
            if frame.format.name != sample_format:
                raise InvalidInput(f"the audio changes from samples of {sample_format} to {frame.format.name}")
            if (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.channels):
                raise InvalidInput(
                    f"the audio changes from {self.channels} channel(s) at {self.sample_rate} Hz to "
                    f"{frame.layout.nb_channels} at {frame.sample_rate} Hz"
                )
            if count >= _BLOCK_SAMPLES:
                yield _samples(pending)
                pending, count = [], 0
            pending.append(frame)
            count += frame.samples
        yield _samples(pending)

    def close(self) -> None:
        self._frames.close()
        self._container.close()

    def _decode(self, name: str, declared: int | None) -> Generator[AudioFrame]:
        """Frames of the first audio track, checked against the sample count that the file declares."""
        stream = _first_audio(self._container)
        count, held, damaged, packets_end = 0, None, False, 0
        for packet in self._container.demux(stream):
            if packet.pts is not None and packet.duration is not None:
                packets_end = packet.pts + packet.duration
            try:
                with _translated(name):
                    frames = packet.decode()
            except MalformedInput:
                if name != "mp3":
                    raise
                # a cut from a longer mp3 begins in the bit reservoir, and tags of any kind may trail the last frame
                damaged = count > 0
                continue
            if damaged and frames:
                raise MalformedInput(f"the mp3 is damaged {count / frames[0].sample_rate:.3f} s after its beginning")
            for frame in frames:
                if held is not None:
                    yield held
                held = frame
                count += frame.samples
        if held is not None:
            padding = count - _end(stream, packets_end, held.sample_rate) if name == "mov" else 0
            yield _shortened(held, held.samples - padding) if 0 < padding < held.samples else held
        if name == "ogg" and held is not None:
            declared = _counted(stream, held.sample_rate)
        if declared is not None and count < declared:
            raise MalformedInput(f"the audio is damaged or cut short: {count} of at least {declared} samples")


class _Visible(io.RawIOBase):
    """A file without the tags in front of its audio, and with zeros for other bytes that FFmpeg must not see."""

    def __init__(self, file: IO[bytes], start: int, hidden: list[range]) -> None:
        self._file, self._start, self._hidden = file, start, hidden
        file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        position = self._file.tell()
        data = self._file.read(size)
        for hidden in self._hidden:
            first, last = max(hidden.start - position, 0), min(hidden.stop - position, len(data))
            if first < last:
                data = data[:first] + bytes(last - first) + data[last:]
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset + (self._start if whence == io.SEEK_SET else 0), whence) - self._start

    def tell(self) -> int:
        return self._file.tell() - self._start


def _open(file: io.RawIOBase, name: str) -> InputContainer:
    options = {
        "protocol_whitelist": "none",  # the bytes that were sent are all that is read: no other file, no network
        "codec_whitelist": ",".join(sorted(_CODECS)),
        "max_streams": "32",
    }
    if name == "wav":  # its header says all; FFmpeg would search megabytes of samples for DTS in disguise
        options["probesize"] = "4096"
    # tags are not of our business, and in whatever encoding
    return av.open(file, "r", format=name, options=options, buffer_size=1 << 16, metadata_errors="replace")


def _first_audio(container: InputContainer) -> AvStream:
    if not container.streams.audio:
        raise InvalidInput("the file has no audio track")
    stream = container.streams.audio[0]
    codec = stream.codec_context
    if codec is None or codec.codec is None or codec.codec.name not in _CODECS:
        raise UnsupportedMedia("the audio track is in a codec that is not read here")
    return stream


def _end(stream: AvStream, packets_end: int, sample_rate: int) -> int:
    """Where the sound of an mp4 ends, in samples: an AAC encoder fills its last frame, and FFmpeg leaves that in.

    Muxers shorten the last packet, exactly, or the edit list, whose clock may tick in milliseconds, or both.
    """
    if stream.time_base is None:
        return packets_end
    exact = round(packets_end * stream.time_base * sample_rate)
    listed = round(stream.duration * stream.time_base * sample_rate) if stream.duration else exact
    return listed if exact - listed > _EDIT_TICK_S * sample_rate else exact


def _counted(stream: AvStream, sample_rate: int) -> int | None:
    """The samples that the last page of an ogg says were before its end, less what a decoder may drop in front.

    FFmpeg leaves out pages whose checksum does not match, without a word.
    """
    if stream.time_base is None or stream.duration is None:
        return None
    return int((stream.duration * stream.time_base - _PRE_SKIP_S) * sample_rate)


def _shortened(frame: AudioFrame, samples: int) -> AudioFrame:
    array: NDArray[Any] = frame.to_ndarray()
    keep = samples if frame.format.is_planar else samples * frame.layout.nb_channels
    short = AudioFrame.from_ndarray(np.ascontiguousarray(array[:, :keep]), frame.format.name, frame.layout.name)
    short.sample_rate = frame.sample_rate
    return short


def _samples(frames: list[AudioFrame]) -> NDArray[np.float32]:
    """Frames of one format -> samples [C, n]. Their memory is read in place: a frame of Opus is only 20 ms long."""
    sample_format, channels = frames[0].format, frames[0].layout.nb_channels
    dtype, zero, full_scale = _FORMATS[sample_format.packed.name]
    if sample_format.is_planar:
        samples = np.empty((channels, sum(frame.samples for frame in frames)), np.float32)
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, which the limits refuse
            for channel, row in enumerate(samples):
                planes = [_plane(frame, channel, dtype, frame.samples) for frame in frames]
                np.concatenate(planes, out=row, casting="unsafe")
    else:
        planes = [_plane(frame, 0, dtype, frame.samples * channels) for frame in frames]
        with np.errstate(over="ignore"):
            samples = np.concatenate(planes).reshape(-1, channels).T.astype(np.float32, order="C")
    if zero:
        samples -= np.float32(zero)
    if full_scale != 1:
        samples *= np.float32(1 / full_scale)
    return samples


def _plane(frame: AudioFrame, index: int, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    plane: Any = frame.planes[index]  # a buffer, though its type does not say so
    return np.frombuffer(plane, dtype, count)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """FFmpeg's errors are about the bytes; those of reading the file itself stay what they are."""
    try:
        yield
    except av.error.FFmpegError as exc:
        raise MalformedInput(f"the audio is damaged or cut short: it begins as {name} and cannot be decoded") from exc
