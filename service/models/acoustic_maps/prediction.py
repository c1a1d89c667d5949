"""What the model said about the pictures of one request."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.acoustics.geometry import Cameras
from service.media.image import Views
from service.models.acoustic_maps.maps import MAPS
from service.tensors import Tensors

POSE, POSE_CONFIDENCE = "pose_enc", "pose_conf"


@dataclass(frozen=True, eq=False)
class Prediction:
    """maps float32 [S, H, W, ...] by name, those that were asked of the model."""

    maps: Tensors
    pose_enc: NDArray[np.float32]  # [S, 9]
    pose_conf: NDArray[np.float32]  # [S], about the patches that agree on each
    views: Views
    times_s: Sequence[float] | None  # of the views

    @classmethod
    def of(cls, outputs: Tensors, views: Views, times_s: Sequence[float] | None) -> Self:
        """`outputs` as the backend returns them: one row, that of the request."""
        row = {name: array[0].astype(np.float32, copy=False) for name, array in outputs.items()}
        return cls(row, row.pop(POSE), row.pop(POSE_CONFIDENCE), views, times_s)

    def scaled(self, scale: float) -> "Prediction":
        """The same in lengths of which each is `scale` of the former one."""
        if scale == 1:
            return self
        maps = {name: array * np.float32(scale) if MAPS[name].length else array for name, array in self.maps.items()}
        pose = self.pose_enc * np.array([scale] * 3 + [1] * 6, np.float32)
        return Prediction(maps, pose, self.pose_conf, self.views, self.times_s)

    @property
    def num_views(self) -> int:
        return len(self.views.images)

    @property
    def cameras(self) -> Cameras:
        height, width = self.views.images.shape[1:3]
        return Cameras.decode(self.pose_enc, height, width)[0]

    def extrinsics(self) -> NDArray[Any]:
        """[S, 3, 4]: camera from world, OpenCV axes; the world is the first camera's frame."""
        cameras = self.cameras
        return np.concatenate([cameras.rotation, cameras.translation[..., None]], axis=-1)
