"""Answers as bytes: tokens in four forms, and mel as npz."""

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from service.errors import on_disk
from service.models.tokenizer import container
from service.models.tokenizer.forms import fields, to_tensors
from service.models.tokenizer.schemas import IdOptions
from service.models.tokenizer.tokens import Tokens
from service.tensors import to_npz, to_safetensors

JSON, NPZ, SAFETENSORS = "application/json", "application/x-npz", "application/vnd.safetensors"

_IDS_PER_STEP = 1 << 16


def encode_tokens(media_type: str, tokens: Tokens, ids: IdOptions) -> bytes:
    """A body of `media_type`, one of TOKEN_TYPES. The container holds whole tokens, whatever `ids` says."""
    return TOKEN_TYPES[media_type](tokens, ids)


def _json(tokens: Tokens, ids: IdOptions) -> bytes:
    answer = fields(tokens, ids.codebooks, ids.vocab_offset)
    array = answer.pop("tokens")
    # In steps: as one list of integers the ids would take many times the memory of their text.
    rows = (
        ",".join(",".join(map(str, row[i : i + _IDS_PER_STEP].tolist())) for i in range(0, len(row), _IDS_PER_STEP))
        for row in array
    )
    text = json.dumps(answer, separators=(",", ":"))
    return (text[:-1] + ',"tokens":[' + ",".join(f"[{row}]" for row in rows) + "]}").encode()


def _arrays(write: Callable[[dict[str, NDArray[Any]]], bytes]) -> Callable[[Tokens, IdOptions], bytes]:
    return lambda tokens, ids: write(to_tensors(fields(tokens, ids.codebooks, ids.vocab_offset)))


TOKEN_TYPES: Mapping[str, Callable[[Tokens, IdOptions], bytes]] = {
    JSON: _json,
    container.MEDIA_TYPE: lambda tokens, ids: container.pack(tokens),
    NPZ: _arrays(to_npz),
    SAFETENSORS: _arrays(to_safetensors),
}


class MelWriter:
    """Writes mel [C, T, n_mels] as the npz array `mel`, piece by piece; the pieces wait on disk, not in memory."""

    def __init__(self, file: BinaryIO, channels: int, num_frames: int, n_mels: int) -> None:
        self._file, self._position = file, 0
        with tempfile.TemporaryFile() as scratch, on_disk():  # the mapping keeps it alive
            # all of it now: a mapping finds out by a fatal signal that there is no room
            os.posix_fallocate(scratch.fileno(), 0, 4 * channels * num_frames * n_mels)
            self._mel = np.memmap(scratch, np.float32, "r+", shape=(channels, num_frames, n_mels))

    def write(self, mel: NDArray[np.float32]) -> None:
        """mel [C, t, n_mels], the next frames of every channel."""
        self._mel[:, self._position : self._position + mel.shape[1]] = mel
        self._position += mel.shape[1]

    def close(self) -> None:
        with zipfile.ZipFile(self._file, "w") as archive, archive.open("mel.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, self._mel, allow_pickle=False)
