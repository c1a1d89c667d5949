"""Which patches of two views show the same place: a descriptor of every patch, made with all views in sight.

A small model learns this far sooner than it learns to say poses, and poses follow from it in closed form (`register`).
After LoFTR (Sun et al., 2021), which also attends within and across pictures, and SuperGlue (Sarlin et al., 2020),
where a patch may have no counterpart.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vggt_audio.block import Block
from export.vggt_audio.rope import grid_positions, rotation

DIMS = 128  # of a descriptor
LAYER_SCALE = 0.5


class Descriptors(NamedTuple):
    """vectors [B, S, N, DIMS] of N patches, row-major; alone [B, S, N]: the logit of having no counterpart."""

    vectors: Tensor
    alone: Tensor

    def logits(self) -> Tensor:
        """[B, S, N, T, N + 1]: how like patches of a view are to those of another, and to none of them, the last."""
        likeness = torch.einsum("bsnd,btmd->bsntm", self.vectors, self.vectors)
        alone = self.alone[:, :, :, None, None].expand(*likeness.shape[:4], 1)
        return torch.cat([likeness, alone], dim=-1)

    def matches(self) -> Tensor:
        """[B, S, T, N, N]: how likely a patch of one view and one of another show the same, as both see it."""
        found = self.logits().softmax(dim=-1)[..., :-1].movedim(3, 2)  # [B, S, T, N, N]
        return found * found.movedim(1, 2).transpose(-1, -2)


class MatchHead(nn.Module):
    """Tokens of the first and the last layer that heads read -> descriptors."""

    def __init__(
        self, token_width: int, width: int, depth: int, heads: int, mlp_ratio: float, rope_base: float
    ) -> None:
        super().__init__()
        self.head_width, self.rope_base = width // heads, rope_base
        self.norms = nn.ModuleList(nn.LayerNorm(token_width) for _ in range(2))
        self.project = nn.Linear(2 * token_width, width)

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(Block(width, heads, mlp_ratio, LAYER_SCALE, qk_norm=True) for _ in range(depth))

        self.frame_blocks, self.global_blocks = blocks(), blocks()
        self.norm = nn.LayerNorm(width)
        self.describe = nn.Linear(width, DIMS)
        self.alone = nn.Linear(width, 1)
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, tokens: list[Tensor], patch_start: int, size: tuple[int, int], patch_size: int) -> Descriptors:
        """tokens [B, S, P, W] of layers, patches from `patch_start` on; `size` of the images: height, width."""
        ends = (tokens[0], tokens[-1])
        parts = [norm(layer[:, :, patch_start:]) for norm, layer in zip(self.norms, ends, strict=True)]
        x = self.project(torch.cat(parts, dim=-1).to(self.project.weight.dtype))
        batch, frames = x.shape[:2]
        within = rotation(
            grid_positions(size[0] // patch_size, size[1] // patch_size, 0, x.device), self.head_width, self.rope_base
        )
        across = within.repeated(frames)
        for frame_block, global_block in zip(self.frame_blocks, self.global_blocks, strict=True):
            x = frame_block(x.flatten(0, 1), within).unflatten(0, (batch, frames))
            x = global_block(x.flatten(1, 2), across).unflatten(1, (frames, -1))
        x = self.norm(x)
        vectors = F.normalize(self.describe(x).float(), dim=-1) * self.scale.exp().sqrt()
        return Descriptors(vectors, self.alone(x)[..., 0].float())


def match_loss(descriptors: Descriptors, wanted: Tensor) -> Tensor:
    """Cross entropy of matches against `correspondences` [B, S, N, S]: patches that have a counterpart, and those that
    have none, count alike."""
    log = descriptors.logits().log_softmax(dim=-1)  # [B, S, N, T, N + 1]
    patches = wanted.shape[2]
    known = wanted >= 0
    others = ~torch.eye(wanted.shape[1], dtype=torch.bool, device=wanted.device)[:, None].expand_as(known)
    cost = -log.gather(-1, torch.where(known, wanted, patches)[..., None])[..., 0]
    seen, unseen = known & others, ~known & others
    return cost[seen].sum() / seen.sum().clamp(min=1) + 0.5 * cost[unseen].sum() / unseen.sum().clamp(min=1)
