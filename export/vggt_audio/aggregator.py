"""The trunk: tokens of every view attend within their frame and across all frames in turn (Wang et al., 2025)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.vggt_audio.block import Block, recomputed
from export.vggt_audio.rope import grid_positions, rotation

# Of ImageNet, for images in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Aggregator(nn.Module):
    """Sequence of each frame: [camera | audio | registers | patches].

    Each special token is stored twice: for the first frame, which is the world, and for every other.
    """

    _resnet_mean: Tensor
    _resnet_std: Tensor

    def __init__(
        self,
        patch_embed: nn.Module,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        layer_scale: float,
        registers: int,
        audio_tokens: int,
        audio_feature_dim: int,
        rope_base: float,
        token_std: float,
        layers: Sequence[int],
    ) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.head_width = width // heads
        self.rope_base = rope_base
        self.patch_embed = patch_embed
        self.patch_size = patch_size
        self.patch_start = 1 + audio_tokens + registers

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(Block(width, heads, mlp_ratio, layer_scale, qk_norm=True) for _ in range(depth))

        def tokens(count: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(1, 2, count, width) * token_std)

        self.frame_blocks, self.global_blocks = blocks(), blocks()
        self.camera_token, self.register_token = tokens(1), tokens(registers)
        self.audio_token = tokens(audio_tokens) if audio_tokens else None
        self.audio_proj = nn.Linear(audio_feature_dim, width) if audio_tokens else None
        self.register_buffer("_resnet_mean", torch.tensor(MEAN).reshape(1, 1, 3, 1, 1), persistent=False)
        self.register_buffer("_resnet_std", torch.tensor(STD).reshape(1, 1, 3, 1, 1), persistent=False)
        self.checkpointing = False

    def forward(
        self, images: Tensor, audio_features: Tensor | None = None, audio_valid: Tensor | None = None
    ) -> tuple[list[Tensor], int]:
        """images [B, S, 3, H, W] in [0, 1] -> (tokens [B, S, P, 2 * width] of each of `layers`, first patch token).

        audio_features [B, S, D] are added to the audio tokens of their frame; where audio_valid [B, S] is False, or
        without features, a frame's audio tokens are the learned ones alone, which features of zero are not.
        """
        batch, frames, _, height, width = images.shape
        rows, columns = height // self.patch_size, width // self.patch_size
        images = (images - self._resnet_mean) / self._resnet_std
        patches = self.patch_embed(images.flatten(0, 1)).unflatten(0, (batch, frames))
        special = self._special(batch, frames, audio_features, audio_valid)
        x = torch.cat([special.to(patches.dtype), patches], dim=2)  # [B, S, P, width]
        in_frame = rotation(grid_positions(rows, columns, self.patch_start, x.device), self.head_width, self.rope_base)
        across = in_frame.repeated(frames)

        kept: list[Tensor] = []
        for layer, (frame_block, global_block) in enumerate(zip(self.frame_blocks, self.global_blocks, strict=True)):
            within = self._run(frame_block, x.flatten(0, 1), in_frame).unflatten(0, (batch, frames))
            x = self._run(global_block, within.flatten(1, 2), across).unflatten(1, (frames, x.shape[2]))
            if layer in self.layers:
                kept += [torch.cat([within, x], dim=-1)] * self.layers.count(layer)
        return kept, self.patch_start

    def _run(self, block: nn.Module, x: Tensor, *rest: object) -> Tensor:
        return recomputed(block, x, *rest) if self.checkpointing and self.training else block(x, *rest)

    def _special(self, batch: int, frames: int, audio_features: Tensor | None, audio_valid: Tensor | None) -> Tensor:
        """[B, S, special tokens, width]."""
        # A choice by index: no empty tensor when there is one frame, and no branch in a traced graph.
        variant = torch.arange(frames, device=self.camera_token.device).clamp(max=1)

        def of_frames(tokens: Tensor) -> Tensor:
            return tokens[0][variant].expand(batch, -1, -1, -1)

        parts = [of_frames(self.camera_token)]
        if self.audio_token is not None and self.audio_proj is not None:
            audio = of_frames(self.audio_token)
            if audio_features is not None:
                heard = self.audio_proj(audio_features.to(self.audio_proj.weight.dtype))[:, :, None]
                if audio_valid is not None:
                    heard = torch.where(audio_valid[:, :, None, None], heard, 0.0)
                audio = audio + heard
            parts.append(audio)
        elif audio_features is not None:
            raise ValueError("audio features need a model with audio tokens")
        return torch.cat([*parts, of_frames(self.register_token)], dim=2)
