"""The text tower of `tiny`: a BERT encoder (Devlin et al., 2019) with mean pooling, as sentence encoders have it."""

import torch
from torch import Tensor, nn

from export.layers.attention import SelfAttention
from export.layers.transformer import Mlp
from export.vatt.config import TextConfig

NORM_EPS = 1e-12


class BertBlock(nn.Module):
    """LN(x + Attention(x)), then LN(x + MLP(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention, self.norm_attention = SelfAttention(width, heads), nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp, self.norm_mlp = Mlp(width, 4 * width), nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.norm_attention(x + self.attention(x, mask))
        return self.norm_mlp(x + self.mlp(x))


class Bert(nn.Module):
    """Word pieces -> the mean of their vectors."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.lookup = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.max_tokens, config.width)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.blocks = nn.ModuleList(BertBlock(config.width, config.heads) for _ in range(config.layers))
        for table in (self.lookup, self.positions):
            nn.init.trunc_normal_(table.weight, std=0.02)

    def forward(self, input_ids: Tensor, valid: Tensor) -> Tensor:
        """input_ids [B, N], valid [B, N] boolean -> [B, W]."""
        x = self.lookup(input_ids) + self.positions.weight[: input_ids.shape[1]]
        return self.read(x, valid[:, None, None], valid)

    def read(self, x: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
        """x [B, N, W] with its positions; mask of the attention; weight [B, N] in the mean -> [B, W]."""
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, mask)
        weight = weight[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1)

    def place(self, places: Tensor) -> Tensor:
        """Positions between those of the table: places [B, N], not whole numbers -> [B, N, W]."""
        below = places.floor().clamp(0, self.positions.num_embeddings - 2)
        share = (places - below).clamp(0, 1)[..., None].to(self.positions.weight.dtype)
        below = below.long()
        table = self.positions.weight
        return torch.lerp(table[below], table[below + 1], share)
