"""What is served of VGGT-Audio: views of a room, with sound or without -> its maps and cameras."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.entries import BATCH, Case, Entry, Measure, Named, Precision, ServedGraph
from export.errors import ExportError
from export.vggt_audio.model import PRESETS, VGGTAudio
from export.vggt_audio.poses import decode_poses, unproject
from export.vggt_audio.register import CERTAIN

MAX_VIEWS = 16
# Rows and columns of patches of the examples: square, wide, high, and no two alike.
GRIDS = ((9, 12), (12, 9), (7, 7), (8, 16), (16, 5))
GROUPS = {
    "materials": ("absorption", "reflection", "scattering", "impedance", "acoustic_conf"),
    "geometry": ("depth_map", "depth_conf", "world_points", "world_points_conf"),
    "cameras": ("pose_enc", "pose_conf"),
}
PLACED = ("pose_enc", "world_points")  # what follows from where a view is


class AcousticMapsGraph(ServedGraph):
    """One step is one view. Sizes of images are any multiples of the patch; those of the examples vary with the seed.

    images [B, S, H, W, 3] UINT8, audio_features [B, S, D] FP32, audio_valid [B, S] BOOL -> the outputs, FP32. Frames
    where audio_valid is false have no sound, whatever their features. Without a point head, points are unprojected.
    """

    outputs = tuple(name for names in GROUPS.values() for name in names)
    model: VGGTAudio
    max_steps = MAX_VIEWS

    def __init__(self, model: VGGTAudio) -> None:
        super().__init__(model)
        self.config = config = model.config
        if not (config.enable_camera and config.enable_depth and config.enable_acoustic):
            raise ExportError("acoustic_maps serves cameras, depth and materials: one of those heads is off")
        if not config.num_audio_tokens:
            raise ExportError("acoustic_maps hears: the model has no audio tokens")
        model.track_head = None  # not served

    @property
    def constants(self) -> dict[str, str]:
        config = self.config
        assert self.model.acoustic_head is not None
        return {
            "image_size": str(config.img_size),
            "patch_size": str(config.patch_size),
            "bands_hz": " ".join(str(band) for band in self.model.acoustic_head.freq_centers.tolist()),
            "audio_feature_dim": str(config.audio_feature_dim),
            "metric": str(config.metric).lower(),
        }

    def forward(self, images: Tensor, audio_features: Tensor, audio_valid: Tensor) -> tuple[Tensor, ...]:
        answer = self.model(
            images.permute(0, 1, 4, 2, 3).float() / 255, audio_features=audio_features, audio_valid=audio_valid
        )
        maps = answer | answer["acoustic_properties"] | {"depth_map": answer["depth"]}
        if self.model.match_head is None:
            maps["pose_conf"] = torch.full_like(answer["pose_enc"][..., 0], CERTAIN)
        if self.model.point_head is None:
            cameras = decode_poses(answer["pose_enc"], (images.shape[2], images.shape[3]))
            points = unproject(answer["depth"], *cameras)
            maps |= {"world_points": points, "world_points_conf": answer["depth_conf"]}
        return tuple(maps[name] for name in self.outputs)

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        views, patch = Dim("views"), self.config.patch_size
        return {
            "images": {0: BATCH, 1: views, 2: patch * Dim("rows"), 3: patch * Dim("columns")},
            "audio_features": {0: BATCH, 1: views},
            "audio_valid": {0: BATCH, 1: views},
        }

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        rows, columns = (count * self.config.patch_size for count in GRIDS[seed % len(GRIDS)])
        return {
            "images": torch.randint(0, 256, (batch, steps, rows, columns, 3), generator=generator, dtype=torch.uint8),
            "audio_features": torch.randn(batch, steps, self.config.audio_feature_dim, generator=generator),
            "audio_valid": torch.rand(batch, steps, generator=generator) < 0.5,
        }

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        """Differences relative to the largest value of each output."""
        # In half precision some pixels at edges of what is seen may differ by much.
        what, share, limit = {"fp32": ("largest", 1.0, 1e-3), "fp16": ("99th percentile of the", 0.99, 2e-2)}[precision]
        errors: dict[str, list[float]] = {group: [] for group in GROUPS}
        for case in cases:
            expected = self.answer(case.inputs)
            # A pose that is a guess is another guess after the least rounding, and so is what is seen from there.
            guess = (expected["pose_conf"] < CERTAIN) | (expected["pose_conf"][:, :1] < CERTAIN)
            for name in PLACED:
                expected[name][guess] = case.answer[name][guess]
            for group, names in GROUPS.items():
                errors[group] += [_error(case.answer[name], expected[name], share) for name in names]
        return [Measure(f"{what} difference of {group}", max(found), limit) for group, found in errors.items()]

    def half(self) -> Self:
        """Linear maps of the trunk in float16; norms and sums, and the heads with their exponentials, stay float32."""
        for module in self.model.aggregator.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.half()
        return self


def _error(actual: Tensor, expected: Tensor, share: float) -> float:
    """What the given share of the differences does not exceed; infinite when a value is not finite."""
    if not actual.isfinite().all():
        return float("inf")
    error = (actual - expected).abs().flatten() / expected.abs().max()
    return float(error.kthvalue(max(1, round(share * error.numel()))).values)


ENTRIES = (Entry("acoustic_maps", "acoustic_maps", PRESETS, VGGTAudio, AcousticMapsGraph),)
