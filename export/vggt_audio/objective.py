"""What training minimises: the known geometry and materials of generated scenes, and how scenes sound.

Sound teaches through the renderer: predicted absorption, laid on the walls of the room, decides what the cameras would
hear, and that is compared with what was recorded there. Generated rooms are known; where nobody measured the room, its
box follows from the predicted depth and the known cameras.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vggt_audio import sound
from export.vggt_audio.acoustics import mean_absorption
from export.vggt_audio.enclosure import Enclosure, estimated, known, pixel_areas
from export.vggt_audio.loss import (
    AcousticLoss,
    Terms,
    camera_loss,
    masked_mean,
    robust,
    scene_scale,
    supervised_loss,
)
from export.vggt_audio.poses import decode_poses, invert_poses, unproject
from export.vggt_audio.renderer import Renderer, wall_absorption, wall_areas

Batch = Mapping[str, Tensor]
Answer = Mapping[str, Any]
GEOMETRY = ("camera", "depth", "world_points")  # how terms begin that are in metres
MAPS = ("depth", "world_points", "absorption", "scattering", "impedance")
MOVED_M = 0.1  # by which cameras must lie apart, for their distances to say how long a metre is


class Stage(StrEnum):
    visual = "visual"
    acoustic = "acoustic"
    joint = "joint"
    cameras = "cameras"


class Objective(nn.Module):
    """Answers of the model and a batch of `dataset` -> terms. Of their N patches answers also have `looks` [B, S, N,
    classes] and `places` [B, S, N, 3]."""

    def __init__(
        self, stage: Stage, *, metric: bool, patch_size: int, material: float, places: float, rendering: float
    ) -> None:
        """metric: the model answers, and is to answer, in metres. If not, no truth about geometry counts."""
        super().__init__()
        self.stage, self.metric, self.patch_size = stage, metric, patch_size
        self.material, self.places, self.rendering = material, places, rendering
        self.renderer, self.acoustic = Renderer(sound.SAMPLE_RATE), AcousticLoss(sound.SAMPLE_RATE)

    def forward(self, answer: Answer, batch: Batch, mapped: Tensor | None = None) -> Terms:
        """mapped [K]: the views that the answer has maps of, if not of all."""
        terms = self._generated(answer, batch, mapped) if "depth" in batch else self._filmed(answer, batch)
        if self.stage is Stage.visual:
            terms = {name: term for name, term in terms.items() if name.startswith((*GEOMETRY, "material"))}
        elif not self.metric:
            terms = {name: term for name, term in terms.items() if not name.startswith(GEOMETRY)}
        if self.rendering and self.stage is not Stage.visual and "binaural" in batch:
            terms |= {name: self.rendering * term for name, term in self._heard(answer, batch).items()}
        return terms

    def _generated(self, answer: Answer, batch: Batch, mapped: Tensor | None) -> Terms:
        """Everything is known."""
        middle, patch = self.patch_size // 2, self.patch_size
        looks, places = (batch[name][:, :, middle::patch, middle::patch] for name in ("material", "world_points"))
        named = F.cross_entropy(answer["looks"].flatten(0, -2), looks.flatten())
        found = placed(answer["places"], places.flatten(2, 3))
        maps = dict(batch)
        if mapped is not None:
            maps |= {name: batch[name][:, mapped] for name in MAPS}
        maps["valid"] = torch.ones_like(maps["depth"][..., 0], dtype=torch.bool)
        terms = supervised_loss(answer, maps)
        return terms | {"material": self.material * named, "depth_places": self.places * found}

    def _filmed(self, answer: Answer, batch: Batch) -> Terms:
        """Cameras are known, and now and then what the room absorbs on average."""
        points, (extrinsics, _) = _unprojected(answer["depth"], batch), _cameras(batch)
        scale = scene_scale(points, torch.ones_like(points[..., 0], dtype=torch.bool))
        centers = invert_poses(extrinsics)[..., 3]
        areas = torch.stack([pixel_areas(*scene) for scene in zip(points, centers, strict=True)])
        mean = mean_absorption(answer["acoustic_properties"]["absorption"].flatten(1, 3), areas.flatten(1))
        truth = batch["room_absorption"]
        error = masked_mean((mean - truth.nan_to_num()).abs(), truth.isfinite())
        return camera_loss(answer["pose_enc_list"], batch["pose_enc"], scale) | {"room_absorption": error}

    def _heard(self, answer: Answer, batch: Batch) -> Terms:
        """AcousticLoss, as far as the rooms are known."""
        properties, confidence = answer["acoustic_properties"], answer["acoustic_conf"]
        rooms = [room for room in self._rooms(answer, batch) if room is not None]
        target, source = batch["binaural"], batch["source"]
        if len(rooms) < len(target):
            return self.acoustic.physics(properties)
        weights = torch.stack([pixel_areas(room.points, room.world_from_camera[:, :3, 3]) for room in rooms])
        rendered = []
        for room, maps, areas, signal in zip(rooms, properties["absorption"], weights, source, strict=True):
            walls = wall_absorption(maps, room.points, areas, room.dims, room.near_m)
            heard = self.renderer(signal[:, None], room.dims, walls, room.source, room.world_from_camera)
            rendered.append(heard[..., -target.shape[-1] :])
        sounds = torch.stack(rendered)
        if "audio_valid" in batch:
            sounds = sounds * batch["audio_valid"][..., None, None]
        volume = torch.stack([room.dims.prod() for room in rooms])
        area = torch.stack([wall_areas(room.dims).sum() for room in rooms])
        return self.acoustic(
            levelled(sounds, target).flatten(1, 2),
            target.flatten(1, 2),
            properties,
            confidence,
            batch["rt60"],
            batch.get("volume", volume),
            batch.get("area", area),
            weights,
        )

    def _rooms(self, answer: Answer, batch: Batch) -> list[Enclosure | None]:
        scenes = range(len(batch["images"]))
        if "dims" in batch:
            names = ("dims", "world_points", "world_from_camera", "source_position")
            return [known({name: batch[name][scene] for name in names}) for scene in scenes]
        points, (extrinsics, _) = _unprojected(answer["depth"] * self._metre(answer, batch), batch), _cameras(batch)
        return [estimated(points[scene], extrinsics[scene], batch["source_position"][scene]) for scene in scenes]

    def _metre(self, answer: Answer, batch: Batch) -> Tensor:
        """[B, 1, 1, 1, 1]: how many metres the model's unit is, NaN where cameras do not tell."""
        true, seen = (encoding[..., :3].norm(dim=-1).sum(dim=1) for encoding in (batch["pose_enc"], answer["pose_enc"]))
        metre = torch.ones_like(true) if self.metric else torch.where(true > MOVED_M, true / seen, torch.nan)
        return metre[:, None, None, None, None]


def placed(answer: Tensor, points: Tensor) -> Tensor:
    """[]: how far patches [B, S, N, 3] are from where they are said to be, relative to the scene's size.

    The answer is on the scale of sign * ln(1 + |x|), as that of VGGT's point head.
    """
    scale = scene_scale(points[:, :, None], torch.ones_like(points[:, :, None, :, 0], dtype=torch.bool))
    said = answer.sign() * answer.abs().expm1()
    return robust((said - points).abs().mean(dim=-1) / scale[:, None, None]).mean()


def levelled(rendered: Tensor, target: Tensor) -> Tensor:
    """Sounds [B, S, 2, N] at the level of others, one factor for a scene: nobody calibrated source and recorder."""
    loudness, wanted = (sounds.square().mean(dim=(1, 2, 3), keepdim=True) for sounds in (rendered, target))
    return rendered * ((wanted + 1e-12) / (loudness + 1e-12)).sqrt()


def _cameras(batch: Batch) -> tuple[Tensor, Tensor]:
    """The true extrinsics [B, S, 3, 4] and intrinsics [B, S, 3, 3]."""
    height, width = batch["images"].shape[2:4]
    return decode_poses(batch["pose_enc"], (height, width))


def _unprojected(depth: Tensor, batch: Batch) -> Tensor:
    """[B, S, H, W, 3]: where the true cameras see the predicted depth. It is not sound that depth is learnt from."""
    return unproject(depth.detach(), *_cameras(batch))
