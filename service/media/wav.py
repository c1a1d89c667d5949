"""The plainest files need no decoder: 16-bit and float WAV, read by the numbers in its header.

Everything else that a WAV may carry is left to FFmpeg.
"""

import os
import struct
from typing import IO

from service.media import containers
from service.media.pcm import PcmDecoder, PcmFormat

_ENCODINGS = {(1, 16): "s16le", (3, 32): "f32le"}  # by format tag and bits
_EXTENSIBLE = 0xFFFE


def plain(file: IO[bytes]) -> PcmDecoder | None:
    """The samples of a file that `sniff` found to be WAV; None where they are no plain numbers.

    Raises MalformedInput for a file that is cut short, InvalidInput for one of very many chunks.
    """
    containers.check(file, "wav", 0)
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    pcm: PcmFormat | None = None
    while len(header := file.read(8)) == 8:
        chunk_id, chunk_size = struct.unpack("<4sI", header)
        position = file.tell()
        if chunk_id == b"fmt ":
            pcm = _format(file.read(min(chunk_size, 40)))
        elif chunk_id == b"data":
            if pcm is None or chunk_size == 0xFFFFFFFF:  # RF64 says elsewhere how long it is
                return None
            to_the_end = chunk_size == 0 or chunk_size >= containers.STREAMED
            length = size - position if to_the_end else chunk_size
            return PcmDecoder(file, pcm, position, length - length % pcm.bytes_per_frame)
        file.seek(position + chunk_size + chunk_size % 2)
    return None


def _format(chunk: bytes) -> PcmFormat | None:
    if len(chunk) < 16:
        return None
    tag, channels, sample_rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) == 40:
        (tag,) = struct.unpack_from("<H", chunk, 24)
    encoding = _ENCODINGS.get((tag, bits))
    if encoding is None or not channels or block != channels * bits // 8:
        return None
    return PcmFormat(sample_rate, channels, encoding)
