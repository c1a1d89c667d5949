"""A transformer that reads a sequence of tokens, and the AGG token that it gathers what it read in."""

import math

import torch
from torch import Tensor, nn

from export.layers.transformer import Transformer, TransformerConfig

NORM_EPS = 1e-6


class Trunk(nn.Module):
    """Pre-norm blocks and one norm behind them."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        config = TransformerConfig(width, layers, heads, dropout=dropout, norm_eps=NORM_EPS)
        self.transformer = Transformer(config)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.norm(self.transformer(x, mask))


class Reader(nn.Module):
    """Tokens -> one vector. `agnostic`: with a projection of its own before and behind a trunk that it shares."""

    def __init__(self, width: int, agnostic: bool) -> None:
        super().__init__()
        self.agg = nn.Parameter(torch.empty(1, 1, width))
        nn.init.xavier_normal_(self.agg[0])
        self.before, self.behind = (
            nn.Sequential(nn.Linear(width, width), nn.GELU()) if agnostic else nn.Identity() for _ in range(2)
        )

    def forward(self, trunk: Trunk, tokens: Tensor, valid: Tensor, bias: Tensor | None = None) -> Tensor:
        """tokens [B, N, W], valid [B, N] -> [B, W]; bias [1, heads, N + 1, N + 1] is added to the attention."""
        x = torch.cat([self.agg.expand(tokens.shape[0], -1, -1), self.before(tokens)], dim=1)
        seen = torch.cat([torch.ones_like(valid[:, :1]), valid], dim=1)[:, None, None]
        mask = seen if bias is None else bias.masked_fill(~seen, float("-inf"))
        return self.behind(trunk(x, mask)[:, 0])


class TemporalPositions(nn.Module):
    """A learned vector for each place, normalised before it is added; a place is never stretched to another length."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(places, width))
        nn.init.trunc_normal_(self.table, std=width**-0.5)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, N, W] -> the same with their places added."""
        return tokens + self.norm(self.table[: tokens.shape[1]])


class WavePositions(nn.Module):
    """Sines and cosines of each place (Vaswani et al., 2017), as Whisper has them: nothing to learn."""

    table: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        cpu = torch.device("cpu")
        rates = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2, device=cpu))
        angles = torch.arange(places, device=cpu)[:, None] * rates
        self.register_buffer("table", torch.cat([angles.sin(), angles.cos()], dim=1), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, N, W] -> the same with their places added."""
        return tokens + self.table[: tokens.shape[1]].to(tokens.dtype)
