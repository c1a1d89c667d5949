"""Pre-norm transformer blocks with an optional convolution module between attention and MLP."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from export.layers.attention import SelfAttention
from export.layers.convolution import ConvAxis, ConvolutionModule


@dataclass(frozen=True)
class TransformerConfig:
    width: int
    layers: int
    heads: int
    mlp_ratio: float = 4.0
    conv_kernel: int = 0  # 0: no convolution module
    conv_axis: ConvAxis = "raster"
    bands: int = 1  # tokens per time step in the raster
    layer_scale: float | None = None
    dropout: float = 0.0  # of what each part adds
    norm_eps: float = 1e-5


class Mlp(nn.Module):
    """Linear -> exact GELU -> Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, hidden)
        self.proj = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(F.gelu(self.fc(x)))


class LayerScale(nn.Module):
    """One learned gain per channel (Touvron et al., 2021)."""

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gain


class Block(nn.Module):
    """x + Attention(LN x); x + Convolution(LN x) if configured; x + MLP(LN x)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width

        def scale() -> nn.Module:
            return nn.Identity() if config.layer_scale is None else LayerScale(width, config.layer_scale)

        def norm() -> nn.Module:
            return nn.LayerNorm(width, eps=config.norm_eps)

        self.dropout = nn.Dropout(config.dropout)
        self.norm_attention, self.scale_attention = norm(), scale()
        self.attention = SelfAttention(width, config.heads)
        self.convolution: ConvolutionModule | None = None
        if config.conv_kernel:
            self.norm_convolution, self.scale_convolution = norm(), scale()
            self.convolution = ConvolutionModule(width, config.conv_kernel, config.conv_axis, config.bands)
        self.norm_mlp, self.scale_mlp = norm(), scale()
        self.mlp = Mlp(width, int(width * config.mlp_ratio))

    def attend(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x + self.dropout(self.scale_attention(self.attention(self.norm_attention(x), mask)))

    def convolve(self, x: Tensor, valid: Tensor | None) -> Tensor:
        if self.convolution is None:
            return x
        return x + self.dropout(self.scale_convolution(self.convolution(self.norm_convolution(x), valid)))

    def transform(self, x: Tensor) -> Tensor:
        return x + self.dropout(self.scale_mlp(self.mlp(self.norm_mlp(x))))

    def forward(self, x: Tensor, mask: Tensor | None, valid: Tensor | None) -> Tensor:
        return self.transform(self.convolve(self.attend(x, mask), valid))


class Transformer(nn.Module):
    """A stack of blocks; `checkpointing` recomputes activations in the backward pass."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.checkpointing = False
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """x [B, N, W]; mask boolean, broadcastable to [B, 1, N, N]; valid [B, N] boolean."""
        for block in self.blocks:
            assert isinstance(block, Block)
            if self.checkpointing and self.training:
                # The convolution stays outside: recomputing it would update BatchNorm's running statistics twice.
                x = checkpoint(block.attend, x, mask, use_reentrant=False)
                x = block.convolve(x, valid)
                x = checkpoint(block.transform, x, use_reentrant=False)
            else:
                x = block(x, mask, valid)
        return x
