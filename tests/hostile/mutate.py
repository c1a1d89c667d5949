"""Bytes and JSON that were good once: the same random numbers make the same damage."""

import json
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from service.models.tokenizer.container import MAGIC

_PNG = b"\x89PNG\r\n\x1a\n"
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 0.5, 1e308, -1e308, 10**30, -(2**63), 2**53 + 1, float("nan"), float("inf")),
    *("", " ", "\0", "\ud800", "\U0010ffff", "a" * 5_000, "1e999", "../../etc/passwd", "file:///etc/passwd"),
    *([], {}, [[]], [None] * 50, {"": ""}, {"$or": []}, ["a", 1, None], {"a": {"b": {"c": []}}}),
)


def damaged(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """One to four kinds of damage; checksums are made good again as often as not, so that what is behind them is read.

    `others` are files to splice with.
    """
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_DAMAGE)(data, others, rng)
    return resealed(data) if rng.random() < 0.5 else data


def _offset(data: bytes, rng: random.Random) -> int:
    """Headers are hit as often as all the rest."""
    return rng.randrange(min(len(data), 64) if rng.random() < 0.5 else len(data)) if data else 0


def _stretch(data: bytes, rng: random.Random) -> slice:
    start = _offset(data, rng)
    return slice(start, min(len(data), start + rng.choice((1, 2, 4, 16, 256, 4096))))


def _cut(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    return data[: _offset(data, rng)]


def _flip(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 32))):
        if flipped:
            flipped[_offset(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _number(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """A size, a count or an offset that is not true."""
    size = rng.choice((1, 2, 4, 8))
    number = (rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)).to_bytes(size, rng.choice(("little", "big")))
    start = _offset(data, rng)
    return data[:start] + number + data[start + size :]


def _drop(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = _stretch(data, rng)
    return data[: part.start] + data[part.stop :]


def _repeat(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = _stretch(data, rng)
    return data[: part.stop] + data[part] * rng.choice((1, 2, 50)) + data[part.stop :]


def _zero(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = _stretch(data, rng)
    return data[: part.start] + bytes(part.stop - part.start) + data[part.stop :]


def _noise(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    part = _stretch(data, rng)
    return data[: part.start] + rng.randbytes(part.stop - part.start) + data[part.stop :]


def _splice(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return data[: _offset(data, rng)] + other[_offset(other, rng) :]


_DAMAGE: tuple[Callable[[bytes, Sequence[bytes], random.Random], bytes], ...] = (
    *(_cut, _flip, _flip, _number, _number, _number, _drop, _repeat, _zero, _noise, _splice),
)


def resealed(data: bytes) -> bytes:
    """The same with checksums that are true, where the format has them."""
    if data.startswith(MAGIC) and len(data) > 8:
        return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))
    if not data.startswith(_PNG):
        return data
    sealed, rest = _PNG, data[len(_PNG) :]
    while len(rest) >= 12 and (size := int.from_bytes(rest[:4])) <= len(rest) - 12:
        sealed += rest[: 8 + size] + struct.pack(">I", zlib.crc32(rest[4 : 8 + size]))
        rest = rest[12 + size :]
    return sealed + rest


def damaged_json(body: bytes, rng: random.Random) -> bytes:
    """JSON with other values than it should have, deeper than it should be, or damaged as text."""
    match rng.randrange(6):
        case 0:
            return damaged(body, [body], rng)
        case 1:
            depth = rng.choice((50, 500, 100_000))
            opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
            inner = opening * depth + (b"1" + closing * depth if rng.random() < 0.5 else b"")
            return body.replace(b":", b":" + inner, 1)
        case _:
            document = json.loads(body)
            for _ in range(rng.choice((1, 1, 3))):
                document = _replaced(document, rng)
            return json.dumps(document).encode()


def _replaced(node: Any, rng: random.Random) -> Any:
    if isinstance(node, dict) and node and rng.random() < 0.9:
        key = rng.choice(sorted(node))
        if rng.random() < 0.1:
            return {**node, rng.choice(("", "a" * 300, "\0", "$where", key + "2")): rng.choice(_VALUES)}
        return {**node, key: _replaced(node[key], rng)}
    if isinstance(node, list) and node and rng.random() < 0.8:
        index = rng.randrange(len(node))
        return [*node[:index], _replaced(node[index], rng), *node[index + 1 :]]
    return rng.choice(_VALUES)
