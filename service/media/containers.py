"""What a container says about its own end, and what its tables would cost to open.

Decoders play what is left of a file that was cut short, and a service that is exact to the sample must not. What each
format lets us know, before a sample is decoded:

    wav, aiff     the size of the data chunk (a size of 0 or from 0x7FFFF000 on is a stream's placeholder: not known)
    mp4, m4a      the size of every top-level box
    webm, mkv     the size of every element, down to the blocks of a cluster
    ogg           the last page is whole and carries the end-of-stream flag; its count is compared by the decoder
    flac          the number of samples (compared by the decoder, as are the frames' checksums)
    mp3           the number of bytes, where the first frame is a Xing or Info header; else nothing
    aac (ADTS)    the size of every frame, so that of the last one

Metadata may be compressed a thousandfold, and FFmpeg would unpack it into memory: it is kept from ID3 tags, and an mp4
with a compressed header is refused.
"""

import os
import struct
from collections.abc import Iterator
from typing import IO

from service.errors import InvalidInput, MalformedInput

STREAMED = 0x7FFFF000  # writers to a pipe put this or more, as they cannot know
_MAX_ELEMENTS = 1 << 19  # bounds the walk over a file that is made of tiny elements
_MAX_CHUNKS = 1 << 12
_MAX_EDITS = 64
_MP4_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"}
_EBML_SEGMENT, _EBML_CLUSTER = 0x18538067, 0x1F43B675


def check(file: IO[bytes], name: str, start: int) -> list[range]:
    """The ranges of the file that FFmpeg must not see. `name` and `start` are `sniff`'s.

    Raises MalformedInput where the container says that bytes are missing, InvalidInput for a table that is a bomb.
    """
    size = file.seek(0, os.SEEK_END)
    if name == "wav":
        return _check_chunks(file, size, "<", b"data")
    if name == "aiff":
        return _check_chunks(file, size, ">", b"SSND")
    if name == "mov":
        _check_boxes(file, size)
    elif name == "matroska":
        _check_elements(file, size)
    elif name == "ogg":
        _check_pages(file, size)
    elif name == "mp3":
        _check_xing(file, size, start)
    elif name == "aac":
        _check_frames(file, size, start)
    return []


def flac_samples(file: IO[bytes], start: int) -> int | None:
    """The number of samples in STREAMINFO; None where the encoder did not know."""
    file.seek(start + 21)
    field = file.read(5)
    return int.from_bytes(field) & ((1 << 36) - 1) or None


def _truncated(what: str, missing: int) -> MalformedInput:
    return MalformedInput(f"the audio is cut short: {what} says that {missing} more bytes follow")


def _check_chunks(file: IO[bytes], size: int, endian: str, data_id: bytes) -> list[range]:
    file.seek(12)
    long_size, complete = None, False
    tags: list[range] = []
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            if not complete:
                raise MalformedInput("the audio is cut short: it ends before its data chunk")
            return tags
        chunk_id, chunk_size = struct.unpack(f"{endian}4sI", header)
        position = file.tell()
        if chunk_id == b"ds64" and len(field := file.read(16)) == 16:
            long_size = int.from_bytes(field[8:], "little")  # RF64: the real size of the data chunk
        elif chunk_id in (b"ID3 ", b"id3 "):
            tags.append(range(position, position + chunk_size))
        elif chunk_id == data_id:
            if chunk_size == 0xFFFFFFFF and long_size:
                chunk_size = long_size
            elif chunk_size == 0 or chunk_size >= STREAMED:
                return tags
            if position + chunk_size > size:
                raise _truncated("its data chunk", position + chunk_size - size)
            complete = True
        file.seek(position + chunk_size + chunk_size % 2)
    raise InvalidInput(f"the file has more than {_MAX_CHUNKS} chunks")


def _check_boxes(file: IO[bytes], size: int) -> None:
    samples = 0
    for kind, position, end in _boxes(file, 0, size):
        if kind == b"cmov":
            raise InvalidInput("the mp4 has a compressed header")
        if kind in (b"stsz", b"stz2"):
            file.seek(position + 8)
            samples += int.from_bytes(file.read(4))
        elif kind == b"trun":
            file.seek(position + 4)
            samples += int.from_bytes(file.read(4))
        elif kind == b"elst":
            file.seek(position + 4)
            if int.from_bytes(file.read(4)) > _MAX_EDITS:
                raise InvalidInput(f"the mp4 has an edit list of more than {_MAX_EDITS} entries")
        if samples > size:
            raise InvalidInput(f"the mp4 lists {samples} samples in {end} bytes")


def _boxes(file: IO[bytes], position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the content, end) of every box, and of the boxes inside those that hold others."""
    stack = [(position, end, True)]
    for _ in range(_MAX_ELEMENTS):
        while stack and stack[-1][0] + 8 > stack[-1][1]:
            stack.pop()
        if not stack:
            return
        position, end, top = stack.pop()
        file.seek(position)
        header = file.read(16)
        box_size, kind = struct.unpack(">I4s", header[:8])
        content = position + 8
        if box_size == 1:
            box_size, content = int.from_bytes(header[8:]), position + 16
        elif box_size == 0:
            box_size = end - position
        if position + box_size > end:
            if top:
                raise _truncated(f"its {kind.decode('latin-1')!r} box", position + box_size - end)
            raise MalformedInput(f"the {kind.decode('latin-1')!r} box of the mp4 is larger than the box around it")
        if box_size < content - position:
            raise MalformedInput("the mp4 has a box of an impossible size")
        stack.append((position + box_size, end, top))
        if kind in _MP4_PARENTS:
            stack.append((content, position + box_size, False))
        yield kind, content, position + box_size
    raise InvalidInput(f"the mp4 has more than {_MAX_ELEMENTS} boxes")


def _check_elements(file: IO[bytes], size: int) -> None:
    position = 0
    for _ in range(_MAX_ELEMENTS):
        if position >= size:
            return
        file.seek(position)
        header = file.read(12)
        element, id_length = _vint(header, keep_marker=True)
        length, size_length = _vint(header[id_length:], keep_marker=False)
        if not id_length or not size_length:
            raise MalformedInput("the audio is cut short or damaged: no Matroska element begins where one should")
        content = position + id_length + size_length
        unknown = length == (1 << 7 * size_length) - 1
        if not unknown and content + length > size:
            raise _truncated("its last Matroska element", content + length - size)
        # FFmpeg skips what it cannot read between two clusters; and where a browser wrote no size, only the blocks tell
        # where the file should end
        enter = element in (_EBML_SEGMENT, _EBML_CLUSTER)
        position = content if enter else content + length


def _vint(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Value and length of an EBML variable-size integer; length 0 where there is none."""
    length = 9 - data[0].bit_length() if data and data[0] else 0
    if not length or len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length])
    return (value if keep_marker else value & ((1 << 7 * length) - 1)), length


def _check_pages(file: IO[bytes], size: int) -> None:
    start = max(0, size - 2 * 65307)  # the largest page is 65307 bytes
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS\0")
    header = tail[page : page + 27]
    if page < 0 or len(header) < 27 or len(tail) < page + 27 + header[26]:
        raise MalformedInput("the audio is cut short: its last Ogg page is not whole")
    page_size = 27 + header[26] + sum(tail[page + 27 : page + 27 + header[26]])
    if page + page_size > len(tail):
        raise _truncated("its last Ogg page", page + page_size - len(tail))
    if not header[5] & 4:
        raise MalformedInput("the audio is cut short: its last Ogg page is not the end of the stream")


def _check_xing(file: IO[bytes], size: int, start: int) -> None:
    file.seek(start)
    frame = file.read(64)
    mpeg1, mono = (frame[1] >> 3) & 3 == 3, frame[3] >> 6 == 3
    side_info = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    tag = frame[4 + side_info :]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 16:
        return
    flags = tag[7]
    if flags & 2:
        offset = 12 if flags & 1 else 8
        claimed = int.from_bytes(tag[offset : offset + 4])
        if start + claimed > size:
            raise _truncated("its Xing header", start + claimed - size)


def _check_frames(file: IO[bytes], size: int, start: int) -> None:
    position = start
    for _ in range(_MAX_ELEMENTS):
        file.seek(position)
        header = file.read(7)
        if position == size or header[:3] == b"TAG":
            return
        frame_size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5 if len(header) == 7 else 0
        if frame_size < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
            raise MalformedInput("the audio is cut short or damaged: no AAC frame begins where one should")
        position += frame_size
        if position > size:
            raise _truncated("its last AAC frame", position - size)
    raise InvalidInput(f"the audio has more than {_MAX_ELEMENTS} frames")
