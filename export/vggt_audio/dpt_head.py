"""Dense prediction head (Ranftl et al., 2021): tokens of four layers -> one map of the size of the images."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Activation = Literal["exp", "inv_log", "linear"]
Confidence = Literal["expp1", "sigmoid"]
HIDDEN = 32
POSITION_GAIN = 0.1


class ResidualConvUnit(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)  # the sum is with the rectified input: published weights were trained so
        return x + self.conv2(F.relu(self.conv1(x)))


class FusionBlock(nn.Module):
    """Add the finer level if there is one, refine, enlarge to the level after it."""

    resConfUnit1: ResidualConvUnit | None  # noqa: N815 -- named by published checkpoints, as are all parameters

    def __init__(self, features: int, with_finer: bool) -> None:
        super().__init__()
        self.resConfUnit1 = ResidualConvUnit(features) if with_finer else None
        self.resConfUnit2 = ResidualConvUnit(features)
        self.out_conv = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor, finer: Tensor | None, size: tuple[int, int]) -> Tensor:
        if self.resConfUnit1 is not None and finer is not None:
            x = x + self.resConfUnit1(finer)
        return self.out_conv(_resize(self.resConfUnit2(x), size))


class Scratch(nn.Module):
    """Everything after the pyramid; `output_dim` 0: features, no prediction."""

    def __init__(self, channels: Sequence[int], features: int, output_dim: int) -> None:
        super().__init__()
        for level, width in enumerate(channels, start=1):
            self.add_module(f"layer{level}_rn", nn.Conv2d(width, features, 3, padding=1, bias=False))
            self.add_module(f"refinenet{level}", FusionBlock(features, with_finer=level < len(channels)))
        middle = features // 2 if output_dim else features
        self.output_conv1 = nn.Conv2d(features, middle, 3, padding=1)
        if output_dim:
            self.output_conv2 = nn.Sequential(
                nn.Conv2d(middle, HIDDEN, 3, padding=1), nn.ReLU(), nn.Conv2d(HIDDEN, output_dim, 1)
            )

    def fuse(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Levels from fine to coarse -> [N, features // 2 or features, twice the finest level]."""
        levels = [self.get_submodule(f"layer{k}_rn")(x) for k, x in enumerate(pyramid, start=1)]
        rows, columns = levels[0].shape[-2:]
        sizes = [(2 * rows, 2 * columns), *((level.shape[-2], level.shape[-1]) for level in levels[:-1])]
        x, finer = levels[-1], None
        for k in range(len(levels), 0, -1):
            x = self.get_submodule(f"refinenet{k}")(x, finer, sizes[k - 1])
            finer = levels[k - 2] if k > 1 else None
        return self.output_conv1(x)


class DPTHead(nn.Module):
    """`output_dim` counts the confidence, the last channel; 0 gives features instead of a prediction."""

    def __init__(
        self,
        width: int,
        patch_size: int,
        features: int,
        out_channels: Sequence[int],
        output_dim: int = 0,
        activation: Activation = "linear",
        confidence: Confidence = "expp1",
        down_ratio: int = 1,
        positions: bool = True,
    ) -> None:
        super().__init__()
        first, second, _, last = out_channels
        self.patch_size, self.down_ratio, self.positions = patch_size, down_ratio, positions
        self.output_dim = output_dim
        self.activation: Activation = activation
        self.confidence: Confidence = confidence
        self.norm = nn.LayerNorm(width)
        self.projects = nn.ModuleList(nn.Conv2d(width, channels, 1) for channels in out_channels)
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(last, last, 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(out_channels, features, output_dim)
        self.checkpointing = False
        self.frames_chunk_size: int | None = None  # frames at once; fewer take less memory, the numbers are the same

    def forward(self, tokens: Sequence[Tensor], patch_start: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """tokens [B, S, P, width] of four layers, size (H, W) -> values [B, S, H, W, C] and confidence [B, S, H, W]."""
        maps = self.features(tokens, patch_start, size)
        return activate(maps, self.activation, self.confidence)

    def features(self, tokens: Sequence[Tensor], patch_start: int, size: tuple[int, int]) -> Tensor:
        """The maps before any activation [B, S, channels, H / down_ratio, W / down_ratio]."""
        batch, frames = tokens[0].shape[:2]
        layers = [layer[:, :, patch_start:].flatten(0, 1) for layer in tokens]
        chunks: list[list[Tensor]] = [layers]
        if self.frames_chunk_size is not None:
            chunks = [list(chunk) for chunk in zip(*(x.split(self.frames_chunk_size) for x in layers), strict=True)]
        maps = [self._run(chunk, size) for chunk in chunks]
        return (maps[0] if len(maps) == 1 else torch.cat(maps)).unflatten(0, (batch, frames))

    def _run(self, layers: list[Tensor], size: tuple[int, int]) -> Tensor:
        if self.checkpointing and self.training:
            return checkpoint(self._maps, layers, size, use_reentrant=False)
        return self._maps(layers, size)

    def _maps(self, layers: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        height, width = size
        grid = (height // self.patch_size, width // self.patch_size)
        pyramid = []
        for x, project, resize in zip(layers, self.projects, self.resize_layers, strict=True):
            x = self.norm(x.to(self.norm.weight.dtype)).transpose(1, 2).unflatten(2, grid)
            pyramid.append(resize(self._placed(project(x))))
        x = self.scratch.fuse(pyramid)
        x = self._placed(_resize(x, (height // self.down_ratio, width // self.down_ratio)))
        return self.scratch.output_conv2(x) if self.output_dim else x

    def _placed(self, x: Tensor) -> Tensor:
        return x + POSITION_GAIN * position_embedding(x) if self.positions else x


def activate(maps: Tensor, activation: Activation, confidence: Confidence) -> tuple[Tensor, Tensor]:
    """maps [..., C + 1, H, W] -> values [..., H, W, C], confidence [..., H, W] of the last channel."""
    maps = maps.movedim(-3, -1)
    values, certainty = maps[..., :-1], maps[..., -1]
    if activation == "exp":
        values = values.exp()
    elif activation == "inv_log":
        values = values.sign() * values.abs().expm1()
    return values, certainty.sigmoid() if confidence == "sigmoid" else 1 + certainty.exp()


def position_embedding(x: Tensor) -> Tensor:
    """[C, h, w] for maps [..., C, h, w]: sines and cosines of the position relative to the half diagonal.

    Channels are [x | y], each [sine | cosine] of C / 4 frequencies 100^(-4i/C).
    """
    channels, rows, columns = x.shape[-3:]
    across, down = _centred(columns, x.device), _centred(rows, x.device)
    # The last coordinate of n is n - 1: lengths as tensors, so that a traced graph is not bound to one size.
    diagonal = ((across[-1] + 1).square() + (down[-1] + 1).square()).sqrt()
    frequency = 100.0 ** (-4 * torch.arange(channels // 4, device=x.device, dtype=torch.float32) / channels)
    angle_x = (frequency[:, None] * (across / diagonal))[:, None].expand(-1, rows, -1)
    angle_y = (frequency[:, None] * (down / diagonal))[:, :, None].expand(-1, -1, columns)
    return torch.cat([angle_x.sin(), angle_x.cos(), angle_y.sin(), angle_y.cos()]).to(x.dtype)


def _centred(length: int, device: torch.device) -> Tensor:
    """-(n-1), -(n-3), ..., n-1: cell centres in half cells from the middle."""
    return 2 * torch.arange(length, device=device, dtype=torch.float32) + 1 - length


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
