"""Tokens as a language model's ids: each split into codebooks, each codebook with a place in the vocabulary."""

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput


def to_ids(
    tokens: NDArray[np.int64], bits: int, codebooks: int = 1, vocab_offset: int | None = None
) -> NDArray[np.int64]:
    """tokens [C, N] of `bits` bits -> ids [C, N * codebooks], the most significant bits of each token first.

    Id k of a token is vocab_offset + k * codebook_size + code, or the bare code without an offset.
    Raises InvalidInput if the codebooks do not divide the bits.
    """
    width = codebook_bits(bits, codebooks)
    shifts = width * np.arange(codebooks - 1, -1, -1, dtype=np.int64)
    codes = (tokens[..., None] >> shifts) & ((1 << width) - 1)
    return (codes + _offsets(width, codebooks, vocab_offset)).reshape(len(tokens), -1)


def from_ids(
    ids: NDArray[np.integer], bits: int, codebooks: int = 1, vocab_offset: int | None = None
) -> NDArray[np.int64]:
    """The inverse of `to_ids`. Raises InvalidInput with the index of the first id that its codebook does not have."""
    width = codebook_bits(bits, codebooks)
    channels, count = ids.shape
    if count % codebooks:
        raise InvalidInput(f"a channel has {count} ids, which are no whole tokens of {codebooks} ids each")
    offsets = _offsets(width, codebooks, vocab_offset)
    grouped = ids.reshape(channels, -1, codebooks)
    wrong = ((grouped < offsets) | (grouped >= offsets + (1 << width))).reshape(channels, -1)
    if wrong.any():
        row, column = (int(i) for i in np.unravel_index(int(wrong.argmax()), wrong.shape))
        lowest = int(offsets[column % codebooks])
        detail = f"{ids[row, column]} is not in codebook {column % codebooks}: {lowest} to {lowest + (1 << width) - 1}"
        raise InvalidInput(
            f"id {column} of channel {row}: {detail}", errors=[{"pointer": f"/tokens/{row}/{column}", "detail": detail}]
        )
    codes = grouped.astype(np.int64) - offsets
    shifts = width * np.arange(codebooks - 1, -1, -1, dtype=np.int64)
    tokens: NDArray[np.int64] = (codes << shifts).sum(axis=-1)
    return tokens


def codebook_bits(bits: int, codebooks: int) -> int:
    if codebooks < 1 or bits % codebooks:
        divisors = ", ".join(str(g) for g in range(1, bits + 1) if bits % g == 0)
        raise InvalidInput(f"codebooks is {codebooks}; tokens of {bits} bits are split into {divisors}")
    return bits // codebooks


def _offsets(width: int, codebooks: int, vocab_offset: int | None) -> NDArray[np.int64]:
    if vocab_offset is None:
        return np.zeros(codebooks, np.int64)
    if not 0 <= vocab_offset <= 1 << 40:
        raise InvalidInput(f"vocab_offset is {vocab_offset}; accepted are 0 to {1 << 40}")
    return vocab_offset + (np.arange(codebooks, dtype=np.int64) << width)
