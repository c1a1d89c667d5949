"""Which audio format the bytes are, by their signature; the Content-Type is not asked.

Names are FFmpeg's demuxers. A fixed table instead of FFmpeg's probing keeps out the two hundred formats that nobody
sends and a few that open other files or the network (playlists, concat, image sequences, SDP).
"""

from typing import IO

ID3_HEADER = 10  # bytes


def sniff(file: IO[bytes]) -> tuple[str, int] | None:
    """Demuxer name and the offset at which its bytes begin (behind an ID3 tag); None for bytes of no known format.

    Raises nothing and leaves the position anywhere.
    """
    start = 0
    file.seek(0)
    head = file.read(16)
    while head[:3] == b"ID3" and len(head) >= ID3_HEADER:
        start += ID3_HEADER + _syncsafe(head[6:10]) + (ID3_HEADER if head[5] & 0x10 else 0)
        file.seek(start)
        head = file.read(16)
    name = _signature(head) if start == 0 else _tagged(head)
    if name is None and start:  # encoders pad between the tag and the first frame
        head = head + file.read(4096)
        padding = len(head) - len(head.lstrip(b"\0"))
        name, start = _tagged(head[padding : padding + 16]), start + padding
    return (name, start) if name else None


def _signature(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    return _tagged(head)


def _tagged(head: bytes) -> str | None:
    """The formats that may follow an ID3 tag."""
    if head[:4] == b"fLaC":
        return "flac"
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 15 < 13:  # ADTS: 12 bits of sync, layer 0, a known sample rate
        return "aac"
    mpeg_version, layer = (head[1] >> 3) & 3, (head[1] >> 1) & 3
    bitrate, sample_rate = head[2] >> 4, (head[2] >> 2) & 3
    if head[1] & 0xE0 == 0xE0 and mpeg_version != 1 and layer == 1 and bitrate not in (0, 15) and sample_rate != 3:
        return "mp3"
    return None


def _syncsafe(size: bytes) -> int:
    return (size[0] & 127) << 21 | (size[1] & 127) << 14 | (size[2] & 127) << 7 | (size[3] & 127)
