"""Tracks points of the first view through all others: dense features, then the iterative tracker."""

from collections.abc import Sequence

from torch import Tensor, nn

from export.vggt_audio.dpt_head import DPTHead
from export.vggt_audio.tracker import Tracker, Tracks

DOWN_RATIO = 2  # features have half the size of the images


class TrackHead(nn.Module):
    def __init__(
        self,
        width: int,
        patch_size: int,
        features: int,
        out_channels: Sequence[int],
        hidden: int,
        depth: int,
        stride: int,
        levels: int,
        radius: int,
        iterations: int,
    ) -> None:
        super().__init__()
        self.feature_extractor = DPTHead(
            width, patch_size, features, out_channels, down_ratio=DOWN_RATIO, positions=False
        )
        self.tracker = Tracker(features, hidden, depth, stride, levels, radius, iterations)

    def forward(
        self, tokens: Sequence[Tensor], patch_start: int, size: tuple[int, int], query_points: Tensor
    ) -> Tracks:
        """query_points [B, N, 2]: pixels (x, y) of the first view."""
        return self.tracker(query_points, self.feature_extractor.features(tokens, patch_start, size))
