"""Soft word pieces: what the text tower of `tiny` reads where somebody speaks."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vatt.bert import Bert
from export.vatt.tokenizer import CLS_ID, SEP_ID

SILENT = -12.0  # logarithm of the least weight of a piece: as good as none


class Pieces(NamedTuple):
    """vectors [B, P, W] beside those of the vocabulary; spoken [B, P]: how surely each is a word piece, as a logit;
    valid [B, P] boolean."""

    vectors: Tensor
    spoken: Tensor
    valid: Tensor


class SoftPieces(nn.Module):
    """Tokens of a trunk, so many at a time -> a vector where the embeddings of word pieces are, and its weight."""

    def __init__(self, width: int, tokens: int, text_width: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.full((tokens, width), 1 / tokens))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, text_width)
        self.spoken = nn.Linear(width, 1)

    def forward(self, x: Tensor, valid: Tensor) -> Pieces:
        """x [B, N, W], valid [B, N] -> N / tokens pieces."""
        batch, count, width = x.shape
        tokens = self.mix.shape[0]
        heard = (x * valid[..., None].to(x.dtype)).reshape(batch, count // tokens, tokens, width)
        mixed = self.norm((heard * self.mix).sum(2))
        return Pieces(self.project(mixed), self.spoken(mixed)[..., 0], valid[:, ::tokens])


def read_pieces(bert: Bert, pieces: Pieces) -> Tensor:
    """What a text tower makes of them, each counted by its weight and placed behind the weights before it: [B, W].

    Raises nothing: sound in which nothing is said is read as a text without words.
    """
    silent = pieces.spoken.new_tensor(SILENT)
    weights = torch.where(pieces.valid, F.logsigmoid(pieces.spoken.float()), silent).clamp(min=SILENT).exp()
    before = weights.cumsum(1) - weights
    total = weights.sum(1, keepdim=True)
    # The marks of beginning and end, then the pieces: only places tell a transformer what is where.
    places = torch.cat([torch.zeros_like(total), 1 + total, 1 + before], dim=1)
    # By slices and indices: the exporter calls what a lookup gives "embedding", which is the name of the output.
    marks = bert.lookup.weight[CLS_ID : SEP_ID + 1].expand(weights.shape[0], -1, -1)
    x = torch.cat([marks.to(pieces.vectors.dtype), pieces.vectors], dim=1)
    x = x + bert.place(places.detach())
    weight = torch.cat([torch.ones_like(total).expand(-1, 2), weights], dim=1)
    return bert.read(x, weight.log()[:, None, None].to(x.dtype), weight)
