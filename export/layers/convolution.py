"""The convolution module of the Conformer (Gulati et al., 2020) over a time-frequency grid of tokens."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ConvAxis = Literal["raster", "time", "grid"]


class ConvolutionModule(nn.Module):
    """Pointwise -> GLU -> depthwise -> BatchNorm -> SiLU -> pointwise, zero padded to keep the length.

    `axis` says along what the depthwise kernel runs: `raster` the flattened token sequence (as the original audio
    BSQ-ViT does: neighbours are mostly other frequency bands), `time` each frequency band by itself, `grid` both
    (kernel x 3).
    """

    def __init__(self, width: int, kernel: int, axis: ConvAxis, bands: int) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the kernel must be odd to keep the length, got {kernel}")
        self.axis, self.bands = axis, bands
        self.pointwise_in = nn.Linear(width, 2 * width)
        if axis == "grid":
            self.depthwise: nn.Module = nn.Conv2d(width, width, (kernel, 3), padding=(kernel // 2, 1), groups=width)
        else:
            self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.BatchNorm1d(width)
        self.pointwise_out = nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x [B, N, W], raster order (time-major); valid [B, N] boolean: padding neither leaks in nor is counted."""
        x = F.glu(self.pointwise_in(x), dim=-1)
        if valid is not None:
            x = x * valid[..., None]
        x = F.silu(self._normalise(self._convolve(x), valid))
        return self.pointwise_out(x)

    def _convolve(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        if self.axis == "raster":
            return self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        grid = x.reshape(batch, length // self.bands, self.bands, width)
        if self.axis == "grid":
            y = self.depthwise(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        else:
            rows = grid.permute(0, 2, 3, 1).reshape(batch * self.bands, width, length // self.bands)
            y = self.depthwise(rows).reshape(batch, self.bands, width, length // self.bands).permute(0, 3, 1, 2)
        return y.reshape(batch, length, width)

    def _normalise(self, x: Tensor, valid: Tensor | None) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if self.training and valid is not None:
            keep = valid.reshape(-1)
            normalised = torch.zeros_like(rows)
            normalised[keep] = self.norm(rows[keep])
        else:
            normalised = self.norm(rows)
        return normalised.reshape(x.shape)
