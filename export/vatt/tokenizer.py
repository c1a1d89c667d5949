"""Text to word pieces: the vocabulary of uncased BERT, in a file of the `tokenizers` library beside the text model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from export.publish import REVIEWED

FILENAME = "tokenizer.json"
PATH = REVIEWED / "text_embedder" / FILENAME
PAD_ID, UNK_ID, CLS_ID, SEP_ID, MASK_ID = range(5)


def load_tokenizer(path: Path = PATH) -> Tokenizer:
    """It neither truncates nor pads; its rows begin with [CLS] and end with [SEP]."""
    return Tokenizer.from_file(str(path))


def digest(content: str) -> str:
    """sha256 of the file, hex."""
    return hashlib.sha256(content.encode()).hexdigest()


def tokenize(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """The ids of each text; what is longer loses what is before its end mark."""
    rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    return [row if len(row) <= max_tokens else [*row[: max_tokens - 1], row[-1]] for row in rows]


def pad(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids -> input_ids and attention_mask [B, N], padded on the right."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[PAD_ID] * (longest - len(row))] for row in rows], dtype=torch.long)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
