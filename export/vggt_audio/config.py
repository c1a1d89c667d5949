"""The shapes of VGGT-Audio: that of the published VGGT-1B, and a small one that ships."""

from dataclasses import dataclass
from typing import Literal

from export.vggt_audio.acoustic_head import ReflectionMode
from export.vggt_audio.efficientnet import STRIDE


@dataclass(frozen=True)
class VGGTAudioConfig:
    """The defaults are VGGT-1B with audio; `layers` are the pairs of blocks whose tokens the heads read."""

    metric: bool = True  # trained to answer in metres; False: in a unit of its own for each scene
    image_encoder: Literal["dinov2", "efficientnet"] = "dinov2"
    img_size: int = 518  # the size that position embeddings are stored for; any multiple of patch_size is taken
    patch_size: int = 14
    embed_dim: int = 1024
    mlp_ratio: float = 4.0
    num_register_tokens: int = 4
    vit_depth: int = 24
    vit_heads: int = 16
    vit_layer_scale: float = 1.0
    depth: int = 24  # pairs of frame and global blocks
    num_heads: int = 16
    layer_scale: float = 0.01
    token_std: float = 1e-6  # of the initial special tokens
    rope_freq: float = 100.0
    layers: tuple[int, ...] = (4, 11, 17, 23)
    enable_camera: bool = True
    camera_depth: int = 4
    camera_heads: int = 16
    camera_layer_scale: float = 0.01
    camera_iterations: int = 4
    match_depth: int = 0  # pairs of blocks that match patches across views, where poses are to follow from that
    enable_depth: bool = True
    enable_point: bool = True
    dpt_features: int = 256
    dpt_out_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    enable_acoustic: bool = True
    acoustic_features: int = 256
    acoustic_out_channels: tuple[int, ...] = (256, 512, 1024, 1024)
    freq_bands: int = 8
    reflection_mode: ReflectionMode = "conserving"
    num_audio_tokens: int = 2  # 0: VGGT itself
    audio_feature_dim: int = 768
    enable_track: bool = True
    track_features: int = 128
    track_hidden: int = 384
    track_depth: int = 6
    track_stride: int = 2
    track_levels: int = 7  # of the correlation pyramid
    track_radius: int = 4
    track_iterations: int = 4

    def __post_init__(self) -> None:
        if self.image_encoder == "efficientnet" and self.patch_size != STRIDE:
            raise ValueError(f"EfficientNet makes patches of {STRIDE}, not {self.patch_size}")
        if self.img_size % self.patch_size:
            raise ValueError(f"patches of {self.patch_size} do not tile {self.img_size}")
        if len(self.layers) != 4 or [*self.layers] != sorted(self.layers) or self.layers[-1] != self.depth - 1:
            raise ValueError(f"layers are four, not descending, the last of them {self.depth - 1}, not {self.layers}")
        if self.match_depth and not (self.enable_camera and self.enable_depth):
            raise ValueError("poses that follow from matches need depth, and a camera head for the fields of view")
        if self.embed_dim // self.num_heads % 4:
            raise ValueError(f"two axes of pairs do not fit {self.embed_dim // self.num_heads} channels a head")


# Its published weights know no metres; the sound features are those that are served.
VGGT_1B = VGGTAudioConfig(metric=False, audio_feature_dim=256)
# What it sees with was trained on ImageNet: no DINOv2 is this small, and none can be trained without a GPU.
# Without a point head: points are unprojected from depth and cameras, which Wang et al. found more exact than a head.
SMALL = VGGTAudioConfig(
    image_encoder="efficientnet",
    img_size=256,
    patch_size=16,
    embed_dim=256,
    depth=6,
    num_heads=4,
    layer_scale=0.1,
    layers=(1, 3, 4, 5),
    camera_depth=2,
    camera_heads=8,
    match_depth=2,
    enable_point=False,
    dpt_features=48,
    dpt_out_channels=(32, 64, 96, 96),
    acoustic_features=48,
    acoustic_out_channels=(32, 64, 96, 96),
    audio_feature_dim=256,
    enable_track=False,
)
PRESETS = {"small": SMALL, "vggt-1b": VGGT_1B}
