"""The tracker's transformer: tracks attend over time, and to each other through a few virtual tracks."""

import torch
from torch import Tensor, nn

from export.vggt_audio.block import Mlp

HEADS = 8
MLP_RATIO = 4
VIRTUAL_TRACKS = 64


class SelfBlock(nn.Module):
    """Unlike other pre-norm blocks, its residual path carries the normalised tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, MLP_RATIO * width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x)
        x = x + self.attn(x, x, x, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class CrossBlock(nn.Module):
    """As SelfBlock, attending to a context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, MLP_RATIO * width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x, context = self.norm1(x), self.norm_context(context)
        x = x + self.cross_attn(x, context, context, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class UpdateTransformer(nn.Module):
    def __init__(self, in_width: int, width: int, out_width: int, depth: int) -> None:
        super().__init__()
        self.input_norm = nn.LayerNorm(in_width)
        self.input_transform = nn.Linear(in_width, width)
        self.output_norm = nn.LayerNorm(width)
        self.flow_head = nn.Linear(width, out_width)
        self.virual_tracks = nn.Parameter(torch.randn(1, VIRTUAL_TRACKS, 1, width))  # spelt as published weights do
        self.time_blocks = nn.ModuleList(SelfBlock(width) for _ in range(depth))
        self.space_virtual_blocks = nn.ModuleList(SelfBlock(width) for _ in range(depth))
        self.space_point2virtual_blocks = nn.ModuleList(CrossBlock(width) for _ in range(depth))
        self.space_virtual2point_blocks = nn.ModuleList(CrossBlock(width) for _ in range(depth))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.flow_head.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, S, N, in_width] -> [B, S, N, out_width]."""
        batch, frames, count, _ = x.shape
        start = self.input_transform(self.input_norm(x))
        virtual = self.virual_tracks.transpose(1, 2).expand(batch, frames, -1, -1)
        tokens = torch.cat([start, virtual], dim=2)  # [B, S, N + virtual, width]
        for over_time, to_points, among, to_virtual in zip(
            self.time_blocks,
            self.space_virtual2point_blocks,
            self.space_virtual_blocks,
            self.space_point2virtual_blocks,
            strict=True,
        ):
            tracks = over_time(tokens.transpose(1, 2).flatten(0, 1))
            tokens = tracks.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)  # [B * S, N + virtual, width]
            points, virtual = tokens[:, :count], tokens[:, count:]
            virtual = among(to_points(virtual, points))
            points = to_virtual(points, virtual)
            tokens = torch.cat([points, virtual], dim=1).unflatten(0, (batch, frames))
        return self.flow_head(self.output_norm(tokens[:, :, :count] + start))
