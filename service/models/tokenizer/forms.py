"""Tokens as named fields (JSON) and named arrays (npz, safetensors): the same names in all three.

Arrays: numbers are int64 without axes, text is UTF-8 bytes, what JSON calls null is absent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput
from service.models.tokenizer.ids import codebook_bits, from_ids, to_ids
from service.models.tokenizer.layout import TokenLayout
from service.models.tokenizer.tokens import Tokens
from service.tensors import Tensors

_READ_NUMBERS = ("num_samples", "codebooks", "vocab_offset", "window_frames")


def fields(tokens: Tokens, codebooks: int = 1, vocab_offset: int | None = None) -> dict[str, Any]:
    """All that an answer says; `tokens` is an int64 array [C, N * codebooks]. Raises InvalidInput as `to_ids` does."""
    layout = tokens.layout
    return {
        "model": tokens.model,
        "model_digest": tokens.model_digest,
        "sample_rate": layout.sample_rate,
        "num_samples": tokens.num_samples,
        "num_frames": layout.num_frames(tokens.num_samples),
        "window_frames": layout.window_frames,
        "bits": layout.bits,
        "codebooks": codebooks,
        "codebook_size": 1 << codebook_bits(layout.bits, codebooks),
        "vocab_offset": vocab_offset,
        "grid": layout.grid(tokens.num_samples),
        "duration_s": tokens.duration_s,
        "tokens": to_ids(tokens.tokens, layout.bits, codebooks, vocab_offset),
    }


def from_fields(
    ids: Sequence[Sequence[int]] | NDArray[Any],
    layout: TokenLayout,
    *,
    model: str,
    model_digest: str,
    codebooks: int = 1,
    vocab_offset: int | None = None,
    window_frames: int | None = None,
    num_samples: int | None = None,
) -> Tokens:
    """ids [C, N * codebooks], with what is missing taken from the served model: its windows, and the whole length.

    Raises InvalidInput, with the index of an id that is out of range.
    """
    array = _ids(ids)
    tokens = from_ids(array, layout.bits, codebooks, vocab_offset)
    if window_frames is not None:
        layout = layout.with_windows(window_frames)
    if num_samples is None:
        steps, rest = divmod(tokens.shape[1], layout.bands)
        if rest or not steps:
            raise InvalidInput(f"{tokens.shape[1]} tokens a channel are no whole time steps of {layout.bands} tokens")
        num_samples = steps * layout.time_patch * layout.hop_length
    return Tokens(layout, model, model_digest, num_samples, tokens)


def to_tensors(answer: Mapping[str, Any]) -> Tensors:
    """`fields` as arrays, for npz and safetensors."""
    tensors: Tensors = {}
    for name, value in answer.items():
        if isinstance(value, str):
            tensors[name] = np.frombuffer(value.encode(), np.uint8)
        elif isinstance(value, float):
            tensors[name] = np.asarray(value, np.float64)
        elif value is not None:
            tensors[name] = np.asarray(value, np.int64)
    return tensors


def from_tensors(tensors: Tensors, layout: TokenLayout, *, model: str, model_digest: str) -> Tokens:
    """The inverse; only `tokens` is needed, other names are ignored. Raises InvalidInput."""
    if "tokens" not in tensors:
        raise InvalidInput("there is no array named tokens")
    options: dict[str, int] = {}
    for name in _READ_NUMBERS:
        if name in tensors:
            if tensors[name].size != 1 or tensors[name].dtype.kind not in "iu":
                raise InvalidInput(f"{name} is not a single integer")
            options[name] = int(tensors[name].item())
    if "model_digest" in tensors:
        model_digest = tensors["model_digest"].tobytes().decode("utf-8", "replace")
    return from_fields(
        tensors["tokens"],
        layout,
        model=model,
        model_digest=model_digest,
        codebooks=options.get("codebooks", 1),
        vocab_offset=options.get("vocab_offset"),
        window_frames=options.get("window_frames"),
        num_samples=options.get("num_samples"),
    )


def _ids(ids: Sequence[Sequence[int]] | NDArray[Any]) -> NDArray[np.integer]:
    if not isinstance(ids, np.ndarray):
        lengths = {len(row) for row in ids}
        if len(lengths) != 1:
            raise InvalidInput(f"tokens has {len(ids)} channels, of {sorted(lengths)} ids; all have the same number")
        try:
            ids = np.array(ids, np.int64)
        except OverflowError as exc:
            raise InvalidInput("an id is larger than 64 bits hold") from exc
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InvalidInput(f"tokens is {ids.dtype} {list(ids.shape)}; expected integers [channels, ids]")
    return ids
