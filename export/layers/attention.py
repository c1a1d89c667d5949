"""Multi-head self-attention and its boolean masks (True = may attend)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MaskKind = Literal["none", "causal", "block-causal"]


def attention_mask(kind: MaskKind, length: int, block: int, device: torch.device) -> Tensor | None:
    """Which keys [N] each query [N] may see; `block-causal`: its own block of tokens and all before."""
    if kind == "none":
        return None
    step = 1 if kind == "causal" else block
    position = torch.arange(length, device=device) // step
    return position[:, None] >= position[None, :]


class SelfAttention(nn.Module):
    """Packed query, key, value projection with bias; scale 1/sqrt(width / heads) (Vaswani et al., 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, N, W]; mask broadcastable to [B, 1, N, N], boolean."""
        batch, length, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # [B, heads, N, W / heads]
        return self.out(y.transpose(1, 2).reshape(batch, length, width))
