"""The token container, `application/vnd.auricle.tokens`: 900 bit/s, a small header and a checksum.

    offset  size  content
    0       4     "AURT"
    4       1     version, 1
    5       4     length of the header, little-endian
    9       n     header: JSON in ASCII, keys sorted, no spaces (the fields of `_HEADER`, nothing else)
    9+n     m     tokens, channel after channel, each `bits` bits, most significant first; zero bits fill the last byte
    9+n+m   4     CRC-32 (zlib's) of everything before, little-endian

Every alteration of a byte and every truncation is noticed. There is one way to write given tokens.
"""

import json
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedInput, UnsupportedMedia
from service.models.tokenizer.layout import TokenLayout
from service.models.tokenizer.tokens import Tokens

MEDIA_TYPE = "application/vnd.auricle.tokens"
MAGIC = b"AURT"
_VERSION = 1
_PREFIX = struct.Struct("<4sBI")
_HEADER: dict[str, type] = {
    "bands": int,
    "bits": int,
    "channels": int,
    "hop_length": int,
    "model": str,
    "model_digest": str,
    "num_samples": int,
    "num_tokens": int,  # a channel
    "sample_rate": int,
    "time_patch": int,
    "window_frames": int,
}
_MAX_HEADER = 4096


def pack(tokens: Tokens) -> bytes:
    layout = tokens.layout
    header = _canonical(
        {
            "bands": layout.bands,
            "bits": layout.bits,
            "channels": len(tokens.tokens),
            "hop_length": layout.hop_length,
            "model": tokens.model,
            "model_digest": tokens.model_digest,
            "num_samples": tokens.num_samples,
            "num_tokens": tokens.tokens.shape[1],
            "sample_rate": layout.sample_rate,
            "time_patch": layout.time_patch,
            "window_frames": layout.window_frames,
        }
    )
    body = _PREFIX.pack(MAGIC, _VERSION, len(header)) + header + pack_bits(tokens.tokens, layout.bits)
    return body + struct.pack("<I", zlib.crc32(body))


def unpack(data: bytes) -> Tokens:
    """The inverse of `pack`; allocates a small multiple of the bytes that were sent, whatever the header claims.

    Raises UnsupportedMedia for other bytes and other versions, MalformedInput for damage, InvalidInput for a header
    whose numbers do not fit together.
    """
    if data[:4] != MAGIC:
        raise UnsupportedMedia("the body is no token container: it does not begin with AURT")
    if len(data) < _PREFIX.size + 4:
        raise MalformedInput("the token container is cut short")
    _, version, header_size = _PREFIX.unpack_from(data)
    if version != _VERSION:
        raise UnsupportedMedia(f"the token container has version {version}; version {_VERSION} is read here")
    if zlib.crc32(memoryview(data)[:-4]) != int.from_bytes(data[-4:], "little"):
        raise MalformedInput("the token container is damaged or cut short: its checksum does not match")
    payload_start = _PREFIX.size + header_size
    if header_size > _MAX_HEADER or payload_start > len(data) - 4:
        raise MalformedInput("the header of the token container is longer than the container")
    header = _parse(data[_PREFIX.size : payload_start])
    if not 1 <= header["bits"] <= 62:
        raise MalformedInput(f"the token container has tokens of {header['bits']} bits")
    payload = data[payload_start:-4]
    count = header["channels"] * header["num_tokens"]
    if min(header["channels"], header["num_tokens"]) < 1 or len(payload) != -(-count * header["bits"] // 8):
        raise MalformedInput(
            f"the token container announces {header['channels']} channel(s) of {header['num_tokens']} tokens and "
            f"carries {len(payload)} bytes"
        )
    tokens = unpack_bits(payload, count, header["bits"]).reshape(header["channels"], -1)
    layout = TokenLayout(**{name: header[name] for name in TokenLayout.__dataclass_fields__})
    return Tokens(layout, header["model"], header["model_digest"], header["num_samples"], tokens)


def pack_bits(tokens: NDArray[np.int64], bits: int) -> bytes:
    """Non-negative tokens of any shape -> `bits` bits each, most significant first; zeros fill the last byte."""
    octets = tokens.reshape(-1, 1).astype(">i8").view(np.uint8)  # [n, 8]
    return np.packbits(np.unpackbits(octets, axis=1)[:, 64 - bits :]).tobytes()


def unpack_bits(data: bytes, count: int, bits: int) -> NDArray[np.int64]:
    """-> tokens [count]. Raises MalformedInput if the bits behind the last token are not zero."""
    unpacked = np.unpackbits(np.frombuffer(data, np.uint8))
    if unpacked[count * bits :].any():
        raise MalformedInput("the bits behind the last token of the container are not zero")
    padded = np.zeros((count, 64), np.uint8)
    padded[:, 64 - bits :] = unpacked[: count * bits].reshape(count, bits)
    return np.packbits(padded, axis=1).view(">i8").astype(np.int64).reshape(-1)


def _canonical(header: dict[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")


def _parse(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise MalformedInput("the header of the token container is not JSON") from exc
    if not isinstance(header, dict) or {name: type(value) for name, value in header.items()} != _HEADER:
        raise MalformedInput(f"the header of the token container has exactly the fields {', '.join(_HEADER)}")
    if _canonical(header) != data:
        raise MalformedInput("the header of the token container is not in its canonical form")
    return header
