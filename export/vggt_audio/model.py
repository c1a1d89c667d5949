"""VGGT-Audio: a visual geometry transformer (Wang et al., 2025) that also listens, with a head for acoustic materials.

Parameter names are those of the published VGGT checkpoints. Axes are OpenCV's (x right, y down, z forward) in the
frame of the first view.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from export.vggt_audio.acoustic_head import AcousticHead
from export.vggt_audio.aggregator import Aggregator
from export.vggt_audio.camera_head import CameraHead
from export.vggt_audio.config import PRESETS, SMALL, VGGT_1B, VGGTAudioConfig
from export.vggt_audio.dpt_head import DPTHead
from export.vggt_audio.efficientnet import EfficientNetEmbed
from export.vggt_audio.match_head import MatchHead
from export.vggt_audio.pretrained import LoadReport, freeze_vggt, load_vggt
from export.vggt_audio.register import registered
from export.vggt_audio.track_head import TrackHead
from export.vggt_audio.vit import VisionTransformer

__all__ = ["PRESETS", "SMALL", "VGGT_1B", "VGGTAudio", "VGGTAudioConfig"]


class VGGTAudio(nn.Module):
    """A head that its configuration switches off is None."""

    def __init__(self, config: VGGTAudioConfig) -> None:
        super().__init__()
        self.config = config
        self.aggregator = Aggregator(
            _image_encoder(config),
            config.patch_size,
            config.embed_dim,
            config.depth,
            config.num_heads,
            config.mlp_ratio,
            config.layer_scale,
            config.num_register_tokens,
            config.num_audio_tokens,
            config.audio_feature_dim,
            config.rope_freq,
            config.token_std,
            config.layers,
        )
        width = 2 * config.embed_dim
        self.camera_head = (
            CameraHead(
                width,
                config.camera_depth,
                config.camera_heads,
                config.mlp_ratio,
                config.camera_layer_scale,
                config.camera_iterations,
            )
            if config.enable_camera
            else None
        )
        self.match_head = (
            MatchHead(width, config.embed_dim, config.match_depth, config.num_heads, config.mlp_ratio, config.rope_freq)
            if config.match_depth
            else None
        )
        dense = (width, config.patch_size, config.dpt_features, config.dpt_out_channels)
        self.point_head = DPTHead(*dense, 4, "inv_log", "expp1") if config.enable_point else None
        self.depth_head = DPTHead(*dense, 2, "exp", "expp1") if config.enable_depth else None
        self.acoustic_head = (
            AcousticHead(
                width,
                config.patch_size,
                config.acoustic_features,
                config.acoustic_out_channels,
                config.freq_bands,
                config.reflection_mode,
            )
            if config.enable_acoustic
            else None
        )

        self.track_head = (
            TrackHead(
                width,
                config.patch_size,
                config.track_features,
                config.dpt_out_channels,
                config.track_hidden,
                config.track_depth,
                config.track_stride,
                config.track_levels,
                config.track_radius,
                config.track_iterations,
            )
            if config.enable_track
            else None
        )

    @classmethod
    def from_pretrained_vggt(
        cls,
        source: str | Path,
        config: VGGTAudioConfig = VGGT_1B,
        *,
        freeze_visual: bool = True,
        revision: str | None = None,
        cache_dir: Path | None = None,
        local_files_only: bool = False,
    ) -> tuple[Self, LoadReport]:
        """A model that sees as the published one, and what of it was loaded; what is new is initialised.

        `source` and the arguments of the hub are those of `pretrained.load_vggt`, which raises ExportError.
        freeze_visual: train only the audio tokens, their projection and the acoustic head.
        """
        model = cls(config)
        report = load_vggt(model, source, revision, cache_dir, local_files_only)
        if freeze_visual:
            freeze_vggt(model)
        return model, report

    def checkpoint_gradients(self) -> None:
        """Trade time for memory: recompute the activations of blocks and dense heads in the backward pass."""
        for module in self.modules():
            if isinstance(module, VisionTransformer | Aggregator | DPTHead):
                module.checkpointing = True

    def chunk_frames(self, size: int | None) -> None:
        """Let the dense heads work on `size` frames at once; None: on all."""
        for module in self.modules():
            if isinstance(module, DPTHead):
                module.frames_chunk_size = size

    def forward(
        self,
        images: Tensor,
        query_points: Tensor | None = None,
        audio_features: Tensor | None = None,
        audio_valid: Tensor | None = None,
        mapped: Tensor | None = None,
    ) -> dict[str, Any]:
        """images [S, 3, H, W] or [B, S, 3, H, W] in [0, 1], H and W multiples of the patch size.

        query_points [N, 2] or [B, N, 2]: pixels (x, y) of the first view, to be tracked through the others.
        audio_features [S, D] or [B, S, D]; audio_valid [S] or [B, S] boolean: which frames have them (default: all).
        mapped [K]: the numbers of the frames whose depth, points and materials are wanted (default: all).
        Answers of the heads that are on, always with a batch axis:
            pose_enc [B, S, 9], pose_enc_list (every iteration of the camera head): see `poses`
            pose_conf [B, S]: how sure the poses are, about the patches that agree on them; with matches
            depth [B, S, H, W, 1], world_points [B, S, H, W, 3], depth_conf and world_points_conf [B, S, H, W] >= 1
            acoustic_properties: absorption, reflection, scattering, impedance [B, S, H, W, C], freq_centers [bands]
            acoustic_conf [B, S, H, W] in [0, 1]
            track [B, S, N, 2], track_list (every iteration), vis and conf [B, S, N] in [0, 1]: with query_points
        Heads compute in the precision of their own weights, outside any autocast.

        Raises ValueError on shapes that do not belong together and on inputs that the configuration has no use for.
        """
        if query_points is not None and self.track_head is None:
            raise ValueError("query points need a model with a track head")
        images, audio_features, audio_valid = self._batched(images, audio_features, audio_valid)
        size = (images.shape[-2], images.shape[-1])
        tokens, patch_start = self.aggregator(images, audio_features, audio_valid)
        answer: dict[str, Any] = {}
        with _no_autocast(images.device.type):
            if self.camera_head is not None:
                answer["pose_enc_list"] = self.camera_head(tokens[-1][:, :, 0])
                answer["pose_enc"] = answer["pose_enc_list"][-1]
            wanted = tokens if mapped is None else [layer[:, mapped] for layer in tokens]
            if self.depth_head is not None:
                answer["depth"], answer["depth_conf"] = self.depth_head(wanted, patch_start, size)
            if self.match_head is not None and mapped is None:
                matches = self.match_head(tokens, patch_start, size, self.config.patch_size).matches()
                poses = registered(answer["pose_enc"], answer["depth"], matches, self.config.patch_size)
                answer["pose_enc"], answer["pose_conf"] = poses
            if self.point_head is not None:
                answer["world_points"], answer["world_points_conf"] = self.point_head(wanted, patch_start, size)
            if self.acoustic_head is not None:
                properties, confidence = self.acoustic_head(wanted, patch_start, size)
                answer["acoustic_properties"], answer["acoustic_conf"] = properties, confidence
            if query_points is not None and self.track_head is not None:
                queries = query_points if query_points.ndim == 3 else query_points[None]
                tracks = self.track_head(tokens, patch_start, size, queries)
                answer |= {"track": tracks.points[-1], "track_list": tracks.points}
                answer |= {"vis": tracks.visible, "conf": tracks.confidence}
        return answer

    def _batched(
        self, images: Tensor, audio_features: Tensor | None, audio_valid: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Raises ValueError on shapes that do not belong together."""
        if images.ndim == 4:
            images = images[None]
            audio_features = None if audio_features is None else audio_features[None]
            audio_valid = None if audio_valid is None else audio_valid[None]
        patch = self.config.patch_size
        if images.ndim != 5 or images.shape[2] != 3 or images.shape[-2] % patch or images.shape[-1] % patch:
            raise ValueError(f"images are [B, S, 3, H, W] with H, W multiples of {patch}, not {[*images.shape]}")
        frames = images.shape[:2]
        if audio_features is not None and audio_features.shape != (*frames, self.config.audio_feature_dim):
            raise ValueError(f"audio features {[*audio_features.shape]} do not fit images {[*images.shape]}")
        if audio_valid is not None and audio_valid.shape != frames:
            raise ValueError(f"audio_valid {[*audio_valid.shape]} does not fit images {[*images.shape]}")
        return images, audio_features, audio_valid


def _image_encoder(config: VGGTAudioConfig) -> nn.Module:
    """images [N, 3, H, W] -> tokens [N, patches, embed_dim]."""
    if config.image_encoder == "efficientnet":
        return EfficientNetEmbed(config.img_size, config.embed_dim)
    return VisionTransformer(
        config.img_size,
        config.patch_size,
        config.embed_dim,
        config.vit_depth,
        config.vit_heads,
        config.mlp_ratio,
        config.num_register_tokens,
        config.vit_layer_scale,
    )


def _no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Nothing at all where autocast is off: an exported graph knows no such region."""
    return torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else nullcontext()
