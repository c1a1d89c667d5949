"""Word pieces to tokens, and the relative positions of T5 (Raffel et al., 2020)."""

import math

import torch
from torch import Tensor, nn

from export.vatt.config import TextConfig
from export.vatt.reader import TemporalPositions

BUCKETS, MAX_DISTANCE = 32, 64


class TextTokens(nn.Module):
    """A vector for each word piece, projected to the width."""

    def __init__(self, config: TextConfig, agnostic: bool) -> None:
        super().__init__()
        self.lookup = nn.Embedding(config.vocabulary, config.embedding)
        self.project = nn.Linear(config.embedding, config.width, bias=False)
        # A trunk that also reads sound has no place for T5's bias.
        self.positions = TemporalPositions(config.max_tokens, config.width) if agnostic else nn.Identity()

    def forward(self, input_ids: Tensor) -> Tensor:
        """input_ids [B, N] -> [B, N, W]."""
        return self.positions(self.project(self.lookup(input_ids)))


class RelativeBias(nn.Module):
    """What is added to the attention of one token to another, by how far apart they are; shared by all layers."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(BUCKETS, heads)
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, length: int) -> Tensor:
        """[1, heads, length, length]"""
        place = torch.arange(length, device=self.table.weight.device)
        return self.table(bucket(place[None, :] - place[:, None])).permute(2, 0, 1)[None]


def bucket(distance: Tensor) -> Tensor:
    """Signed distances -> 0 to 31: near ones have a bucket each, far ones share it, on a logarithmic scale."""
    half = BUCKETS // 2
    exact = half // 2
    far = distance.abs()
    scale = (far.float() / exact).clamp(min=1).log() / math.log(MAX_DISTANCE / exact)
    shared = (exact + (scale * (half - exact)).long()).clamp(max=half - 1)
    return torch.where(far < exact, far, shared) + half * (distance > 0).long()
