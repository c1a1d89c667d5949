"""The transformer block of every trunk: pre-norm attention and MLP, each scaled per channel before it is added."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from export.vggt_audio.rope import Rotation, rotate


class Mlp(nn.Module):
    """Linear -> exact GELU -> Linear."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out or width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x.to(self.fc1.weight.dtype))))


class LayerScale(nn.Module):
    """One learned gain per channel (Touvron et al., 2021)."""

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    """Packed query, key, value projection; queries and keys are normalised per head if asked, then rotated."""

    def __init__(self, width: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        self.qkv = nn.Linear(width, 3 * width)
        self.qk_norm = qk_norm
        if qk_norm:
            self.q_norm = nn.LayerNorm(self.head_width)
            self.k_norm = nn.LayerNorm(self.head_width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """x [B, N, W]; rotation for N tokens."""
        q, k, v = self.project(x, rotation)
        # Norms and rotation give float32 beside values that may be of half precision.
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)  # [B, heads, N, W / heads]
        return self.proj(y.transpose(1, 2).flatten(2))

    def project(self, x: Tensor, rotation: Rotation | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, heads, N, W / heads] of x [B, N, W]."""
        q, k, v = (
            self.qkv(x.to(self.qkv.weight.dtype))
            .unflatten(2, (3, self.heads, self.head_width))
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        if self.qk_norm:
            q, k = self.q_norm(q.to(self.q_norm.weight.dtype)), self.k_norm(k.to(self.k_norm.weight.dtype))
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v


class Block(nn.Module):
    """x + scale(attention(norm(x))), then x + scale(mlp(norm(x))).

    The sum, norms and scales have the precision of x; the linear maps may have a lower one.
    """

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, layer_scale: float, qk_norm: bool = False, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, qk_norm)
        self.ls1 = LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.ls2 = LayerScale(width, layer_scale)

    def forward(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))


def recomputed(block: nn.Module, x: Tensor, *rest: object) -> Tensor:
    """block(x, ...), keeping only x for the backward pass: its activations are computed again there."""
    return checkpoint(block, x, *rest, use_reentrant=False)
