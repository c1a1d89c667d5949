"""Audio as it arrives, in whatever format, to blocks of float32 samples within the limits; an hour is never in memory.

The bytes decide what the format is and a wrong `audio/*` type does no harm; only raw PCM, which has no header, is taken
at the word of its Content-Type. A type that is not audio at all is refused, as it says that the client meant no audio.

| outcome | when |
|---|---|
| UnsupportedMedia 415 | the Content-Type is not audio's; the bytes are no format that is read; an unknown codec |
| MalformedInput 400 | the format is known and the bytes are damaged or cut short (see `service.media.containers`) |
| InvalidInput 422 | no samples; rate, channel count or amplitude outside the ranges below; NaN or infinite samples |
| PayloadTooLarge 413 | the decoded audio is longer than the limit, whatever the file claimed |
"""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, PayloadTooLarge, UnsupportedMedia
from service.media import wav
from service.media.decode import Decoder
from service.media.pcm import PcmDecoder, pcm_format
from service.media.sniff import sniff

MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 4_000, 768_000
MAX_CHANNELS = 8
MAX_AMPLITUDE = 100.0  # 40 dB over full scale: float audio may overshoot; integers stored as float go beyond

Channel = Literal["mix", "left", "right", "each"]

_APPLICATION_TYPES = {"application/octet-stream", "application/ogg", "application/x-matroska"}


class Source(Protocol):
    """What decodes a file. Rate in Hz; `declared` is the number of samples, None where nothing says it."""

    sample_rate: int
    channels: int
    declared: int | None

    def blocks(self) -> Iterator[NDArray[np.float32]]: ...

    def close(self) -> None: ...


class AudioStream:
    """Decoded audio, read once. Attributes: sample_rate in Hz, channels, num_samples (decoded so far).

    A context manager: leaving it closes the decoder, not the file.
    """

    def __init__(self, source: Source, max_audio_s: float) -> None:
        self.sample_rate, self.channels, self.num_samples = source.sample_rate, source.channels, 0
        self._source, self._max_audio_s = source, max_audio_s

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Samples [C, n] at the file's own rate, full scale at 1.0; n varies and is small."""
        for block in self._source.blocks():
            check_samples(block, self.num_samples)
            self.num_samples += block.shape[1]
            _check_length(self.num_samples, self.sample_rate, self._max_audio_s)
            yield block
        if not self.num_samples:
            raise InvalidInput("the audio has no samples")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._source.close()


def open_audio(
    file: IO[bytes],
    content_type: str | None,
    *,
    max_audio_s: float,
    decode: Callable[[IO[bytes], str, int], Source] = Decoder,
) -> AudioStream:
    """Reads as much of a seekable file as it takes to know its format; `decode` takes what is not plain PCM.

    Raises what the table above says; amplitudes, and a length that no header tells, are refused while blocks are read.
    """
    media_type = (content_type or "application/octet-stream").partition(";")[0].strip().lower()
    if not media_type.startswith(("audio/", "video/")) and media_type not in _APPLICATION_TYPES:
        raise UnsupportedMedia(f"{media_type} is no audio type: send audio/wav, audio/flac, audio/ogg, audio/mpeg ...")
    if pcm := pcm_format(content_type or ""):
        check_format(pcm.sample_rate, pcm.channels)
        return AudioStream(PcmDecoder(file, pcm), max_audio_s)
    if not file.seek(0, 2):
        raise InvalidInput("the body is empty")
    known = sniff(file)
    if known is None:
        raise UnsupportedMedia(
            "the bytes are no audio format that is read here: wav, flac, ogg (opus, vorbis), mp3, aac, mp4/m4a, "
            "webm/matroska, aiff, or raw PCM as audio/L16;rate=16000"
        )
    decoder: Source = (wav.plain(file) if known[0] == "wav" else None) or decode(file, *known)
    try:
        check_format(decoder.sample_rate, decoder.channels)
        _check_length(decoder.declared or 0, decoder.sample_rate, max_audio_s)  # before hours of it are worked on
    except (InvalidInput, PayloadTooLarge):
        decoder.close()
        raise
    return AudioStream(decoder, max_audio_s)


def check_format(sample_rate: int, channels: int) -> None:
    """Raises InvalidInput outside the ranges."""
    if not MIN_SAMPLE_RATE_HZ <= sample_rate <= MAX_SAMPLE_RATE_HZ:
        raise InvalidInput(
            f"the sample rate is {sample_rate} Hz; accepted are {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise InvalidInput(f"the audio has {channels} channels; accepted are 1 to {MAX_CHANNELS}")


def check_samples(block: NDArray[np.float32], position: int) -> None:
    """Raises InvalidInput for NaN, infinity and absurd amplitudes. block [C, n] begins at sample `position`."""
    if not block.size or -MAX_AMPLITUDE <= block.min() <= block.max() <= MAX_AMPLITUDE:  # false where one is NaN
        return
    bad = ~(np.abs(block) <= MAX_AMPLITUDE)
    channel, index = np.unravel_index(int(bad.argmax()), bad.shape)
    raise InvalidInput(
        f"sample {position + int(index)} of channel {int(channel)} is {block[channel, index]}; accepted are finite "
        f"values within +-{MAX_AMPLITUDE:g}, with full scale at 1"
    )


def _check_length(num_samples: int, sample_rate: int, max_audio_s: float) -> None:
    if num_samples > max_audio_s * sample_rate:
        raise PayloadTooLarge(f"the audio is longer than {max_audio_s:g} s")


def select_channels(block: NDArray[np.float32], channel: Channel) -> NDArray[np.float32]:
    """[C, n] -> [1, n] ("mix" is the mean of all channels, "left" the first, "right" the second) or [C, n] ("each").

    Raises InvalidInput for the right channel of mono audio.
    """
    if channel == "each" or (len(block) == 1 and channel != "right"):
        return block
    if channel == "mix":
        mean: NDArray[np.float32] = block.mean(axis=0, keepdims=True)
        return mean
    if channel == "left":
        return block[:1]
    if len(block) < 2:
        raise InvalidInput("channel=right needs audio of at least two channels; this has one")
    return block[1:2]
