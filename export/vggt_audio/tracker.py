"""Point tracking by iterative refinement on correlations with a feature pyramid (Karaev et al., 2024; VGGSfM)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vggt_audio.block import Mlp
from export.vggt_audio.update_transformer import UpdateTransformer

MAX_SCALE = 518  # flows are told to the transformer in this unit too
FLOW_FREQUENCY = 1000.0
POSITION_BASE = 10000.0


class Tracks(NamedTuple):
    """points: [B, S, N, 2] pixels (x, y) of each iteration; visible and confidence [B, S, N] in [0, 1]."""

    points: list[Tensor]
    visible: Tensor
    confidence: Tensor


class Tracker(nn.Module):
    def __init__(
        self, features: int, hidden: int, depth: int, stride: int, levels: int, radius: int, iterations: int
    ) -> None:
        super().__init__()
        self.features, self.stride, self.iterations = features, stride, iterations
        self.levels, self.radius = levels, radius
        width = 3 * features + 4  # flow embedding, flow twice, correlations, features
        self.query_ref_token = nn.Parameter(torch.randn(1, 2, width))  # of the first frame, of every other
        self.corr_mlp = Mlp(levels * (2 * radius + 1) ** 2, hidden, features)
        self.updateformer = UpdateTransformer(width, hidden, features + 2, depth)
        self.fmap_norm = nn.LayerNorm(features)
        self.ffeat_norm = nn.GroupNorm(1, features)
        self.ffeat_updater = nn.Sequential(nn.Linear(features, features), nn.GELU())
        self.vis_predictor = nn.Sequential(nn.Linear(features, 1))
        self.conf_predictor = nn.Sequential(nn.Linear(features, 1))

    def forward(self, query_points: Tensor, maps: Tensor) -> Tracks:
        """query_points [B, N, 2] pixels (x, y) of the first frame; maps [B, S, C, H / stride, W / stride].

        Raises ValueError when the maps are too small for the pyramid.
        """
        frames, size = maps.shape[1], maps.shape[-2:]
        if min(size) < 2 ** (self.levels - 1):
            raise ValueError(f"tracking needs images of at least {self.stride * 2 ** (self.levels - 1)} pixels a side")
        maps = self.fmap_norm(maps.movedim(2, -1)).movedim(-1, 2)
        pyramid = feature_pyramid(maps, self.levels)
        query = (query_points / self.stride).to(maps.dtype)
        features = sample_points(maps[:, 0], query)[:, None].expand(-1, frames, -1, -1)
        points = query[:, None].expand(-1, frames, -1, -1)
        variant = torch.arange(frames, device=maps.device).clamp(max=1)
        positions = position_table(3 * self.features + 4, size[0], size[1], maps.device).to(maps.dtype)
        placed = sample_points(positions.expand(len(maps), -1, -1, -1), query)  # [B, N, width]
        known = placed[:, None] + self.query_ref_token[0, variant][:, None]  # [B, S, N, width]

        predictions = []
        for _ in range(self.iterations):
            points = points.detach()
            seen = self.corr_mlp(correlate(pyramid, features, points, self.radius))
            flow = points - points[:, :1]
            scaled = flow / MAX_SCALE
            x = torch.cat([flow_embedding(flow, self.features // 2), scaled, scaled, seen, features], dim=-1)
            change, update = self.updateformer(x + known).split([2, self.features], dim=-1)
            update = self.ffeat_norm(update.flatten(0, 2)).view_as(update)
            features = self.ffeat_updater(update) + features
            points = torch.cat([query[:, None], (points + change)[:, 1:]], dim=1)  # the query itself does not move
            predictions.append(points * self.stride)
        visible, confidence = self.vis_predictor(features), self.conf_predictor(features)
        return Tracks(predictions, visible[..., 0].sigmoid(), confidence[..., 0].sigmoid())


def feature_pyramid(maps: Tensor, levels: int) -> list[Tensor]:
    """maps [B, S, C, H, W] -> each level half the one before, odd last rows and columns dropped."""
    pyramid = [maps]
    for _ in range(levels - 1):
        pyramid.append(F.avg_pool2d(pyramid[-1].flatten(0, 1), 2).unflatten(0, maps.shape[:2]))
    return pyramid


def correlate(pyramid: Sequence[Tensor], features: Tensor, points: Tensor, radius: int) -> Tensor:
    """features [B, S, N, C], points [B, S, N, 2] of the finest level -> [B, S, N, levels * (2 radius + 1)^2].

    Around each point a square of offsets, of which the first index moves x; outside the maps there is nothing.
    """
    offset = torch.arange(-radius, radius + 1, device=points.device, dtype=points.dtype)
    square = torch.stack(torch.meshgrid(offset, offset, indexing="ij"), dim=-1)  # [2r + 1, 2r + 1, (x, y)]
    levels = []
    for level, maps in enumerate(pyramid):
        volume = torch.einsum("bsnc,bschw->bsnhw", features, maps) / features.shape[-1] ** 0.5
        around = (points / 2**level)[..., None, None, :] + square
        sampled = sample(volume.flatten(0, 2)[:, None], around.flatten(0, 2), "zeros")  # [B * S * N, 1, 2r+1, 2r+1]
        levels.append(sampled.flatten(1).unflatten(0, points.shape[:3]))
    return torch.cat(levels, dim=-1)


def sample(maps: Tensor, points: Tensor, padding: str) -> Tensor:
    """Bilinear: maps [N, C, H, W], points [N, h, w, 2] in pixels (x, y) -> [N, C, h, w]; centres are at integers."""
    last = torch.tensor([maps.shape[-1] - 1, maps.shape[-2] - 1], device=points.device, dtype=points.dtype)
    return F.grid_sample(maps, points * (2 / last.clamp(min=1)) - 1, padding_mode=padding, align_corners=True)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """maps [B, C, H, W], points [B, N, 2] -> [B, N, C]; beyond the border its values go on."""
    return sample(maps, points[:, :, None], "border")[..., 0].transpose(1, 2)


def flow_embedding(flow: Tensor, channels: int) -> Tensor:
    """[..., 2] -> [..., 2 * channels]: x, then y, sines at even and cosines at odd channels."""
    frequency = torch.arange(0, channels, 2, device=flow.device, dtype=flow.dtype) * (FLOW_FREQUENCY / channels)
    angle = flow[..., None] * frequency
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-3)


def position_table(channels: int, rows: int, columns: int, device: torch.device) -> Tensor:
    """[1, channels, rows, columns]: x, then y, each [sines | cosines] of integer positions."""
    n = channels // 4
    frequency = POSITION_BASE ** (-torch.arange(n, device=device, dtype=torch.float64) / n)
    x = frequency[:, None, None] * torch.arange(columns, device=device)[None, None]
    y = frequency[:, None, None] * torch.arange(rows, device=device)[None, :, None]
    x, y = x.expand(-1, rows, -1), y.expand(-1, -1, columns)
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()])[None].float()
