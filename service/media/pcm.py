"""Raw PCM: the media types that say in their parameters what a file's header would, and samples from its bytes.

    audio/L16;rate=16000;channels=1                    16-bit big-endian (RFC 2586, RFC 3551); rate is required
    audio/pcm;rate=16000;channels=1;encoding=s16le     little-endian; encoding is s16le (default) or f32le

Channels are interleaved; without a parameter there is one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput

ENCODINGS: dict[str, np.dtype[Any]] = {"s16be": np.dtype(">i2"), "s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_DEFAULT_ENCODINGS = {"audio/l16": "s16be", "audio/pcm": "s16le"}
_BLOCK_FRAMES = 1 << 15


@dataclass(frozen=True)
class PcmFormat:
    sample_rate: int
    channels: int
    encoding: str

    @property
    def bytes_per_frame(self) -> int:
        return self.channels * ENCODINGS[self.encoding].itemsize

    def samples(self, data: bytes | bytearray | memoryview) -> NDArray[np.float32]:
        """Bytes of whole frames -> samples [C, n], full scale at 1.0. Raises MalformedInput for part of a frame."""
        if len(data) % self.bytes_per_frame:
            raise MalformedInput(
                f"PCM of {self.channels} channel(s) in {self.encoding} has frames of {self.bytes_per_frame} bytes; "
                f"{len(data)} bytes end inside one"
            )
        interleaved = np.frombuffer(data, ENCODINGS[self.encoding]).reshape(-1, self.channels)
        samples: NDArray[np.float32] = np.ascontiguousarray(interleaved.T, dtype=np.float32)
        if self.encoding != "f32le":
            samples *= np.float32(1 / 32768)
        return samples


class PcmDecoder:
    """`size` bytes of PCM from `start` of a file (default: all of it), with the interface of `decode.Decoder`."""

    def __init__(self, file: IO[bytes], pcm: PcmFormat, start: int = 0, size: int | None = None) -> None:
        self.sample_rate, self.channels = pcm.sample_rate, pcm.channels
        self.declared = None if size is None else size // pcm.bytes_per_frame
        self._file, self._pcm, self._start = file, pcm, start
        self._size = file.seek(0, os.SEEK_END) if size is None else size

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        self._file.seek(self._start)
        left = self._size
        while data := self._file.read(min(left, _BLOCK_FRAMES * self._pcm.bytes_per_frame)):
            left -= len(data)
            yield self._pcm.samples(data)

    def close(self) -> None:
        """There is nothing to close."""


def pcm_format(content_type: str) -> PcmFormat | None:
    """The format that a raw PCM media type states; None for any other type.

    Raises InvalidInput where a parameter is missing or no positive number.
    """
    message = Message()
    message["Content-Type"] = content_type
    media_type = message.get_content_type()
    if media_type not in _DEFAULT_ENCODINGS:
        return None
    encoding = str(message.get_param("encoding", _DEFAULT_ENCODINGS[media_type])).lower()
    if encoding not in ENCODINGS or (media_type == "audio/l16" and encoding != "s16be"):
        raise InvalidInput(
            f"encoding {encoding!r} of {media_type}: audio/pcm knows s16le and f32le, audio/L16 is s16be"
        )
    return PcmFormat(_number(message, "rate", None), _number(message, "channels", "1"), encoding)


def _number(message: Message, name: str, default: str | None) -> int:
    value = message.get_param(name, default)
    if value is None:
        raise InvalidInput(f"{message.get_content_type()} needs a {name}, as in audio/L16;rate=16000;channels=1")
    text = str(value)
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 10):
        raise InvalidInput(f"{name}={text!r} of {message.get_content_type()} is not a positive whole number")
    return int(text)
