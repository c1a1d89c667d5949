"""The box that a scene's sound is rendered in: known of a generated room, estimated of a filmed one."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from export.vggt_audio.poses import invert_poses

KNOWN_NEAR_M, ESTIMATED_NEAR_M = 0.1, 0.3  # how far from a wall its pixels may seem to lie
OUTLIERS = 0.01  # share of the points beyond each wall
POINTS = 4096  # that decide where walls are
SMALLEST_M = 1.0
MARGIN_M = 0.05  # between walls and whoever is in the room


class Enclosure(NamedTuple):
    """Everything in the frame of `renderer`: a corner at the origin, z up, metres."""

    dims: Tensor  # [3]
    points: Tensor  # [S, H, W, 3] of the pixels
    world_from_camera: Tensor  # [S, 4, 4]
    source: Tensor  # [3]
    near_m: float


def known(scene: Mapping[str, Tensor]) -> Enclosure:
    """Of one generated scene: dims, world_points, world_from_camera and source_position."""
    first = scene["world_from_camera"][0]
    points = scene["world_points"] @ first[:3, :3].T + first[:3, 3]
    return Enclosure(scene["dims"], points, scene["world_from_camera"], scene["source_position"], KNOWN_NEAR_M)


@torch.no_grad()
def estimated(points: Tensor, extrinsics: Tensor, source: Tensor) -> Enclosure | None:
    """Of a filmed room, from points [S, H, W, 3], cameras [S, 3, 4] (camera from world) and the source [3].

    It is assumed that cameras were held upright, so that their mean up is against gravity, and that the room is a box:
    it is turned to where it is smallest, and holds all points but a few. None where that is no room around the cameras
    and the source: then too little of it was seen, or the source's place is not known.
    """
    cameras = invert_poses(extrinsics)
    up, right = F.normalize(-cameras[:, :3, 1].mean(dim=0), dim=0), cameras[0, :3, 0]
    right = F.normalize(right - (right @ up) * up, dim=0)
    level = torch.stack([right, torch.linalg.cross(up, right), up])
    cloud = points.reshape(-1, 3)
    cloud = cloud[:: -(-len(cloud) // POINTS)] @ level.T
    if not cloud.isfinite().all():
        return None
    angles = torch.arange(90, device=cloud.device).deg2rad()
    turns = torch.stack([_about_z(angle) for angle in angles])
    low, high = _extent(cloud @ turns.mT)  # [90, 3] each
    smallest = int((high - low).prod(dim=-1).argmin())
    turn, corner, dims = turns[smallest] @ level, low[smallest], (high - low)[smallest]

    places = torch.cat([cameras[:, :, 3], source[None]]) @ turn.T - corner
    # A place that is not known is NaN, and not inside.
    inside = (places > MARGIN_M) & (places < dims - MARGIN_M)
    if not inside.all() or dims.min() < SMALLEST_M:
        return None
    poses = torch.eye(4, device=points.device).repeat(len(cameras), 1, 1)
    poses[:, :3, :3], poses[:, :3, 3] = turn @ cameras[:, :, :3], places[:-1]
    return Enclosure(dims, points @ turn.T - corner, poses, places[-1], ESTIMATED_NEAR_M)


def pixel_areas(points: Tensor, centers: Tensor) -> Tensor:
    """[S, H, W]: square metres of surface that each pixel shows, from points [S, H, W, 3] and cameras at [S, 3].

    A pixel reaches as far as to the nearer of its two neighbours along each axis, for beyond an edge lies another
    object; and none counts for more than ten times what it covers of the view.
    """
    normal = torch.linalg.cross(_reach(points, 2), _reach(points, 1), dim=-1)
    ray = F.normalize(points - centers[:, None, None], dim=-1)
    return torch.minimum(normal.norm(dim=-1), 10 * (normal * ray).sum(dim=-1).abs())


def _reach(points: Tensor, axis: int) -> Tensor:
    """[S, H, W, 3]: the shorter way to a neighbour."""
    steps = points.diff(dim=axis)
    first, last = steps.narrow(axis, 0, 1), steps.narrow(axis, -1, 1)
    before, after = torch.cat([first, steps], dim=axis), torch.cat([steps, last], dim=axis)
    return torch.where(before.norm(dim=-1, keepdim=True) < after.norm(dim=-1, keepdim=True), before, after)


def _about_z(angle: Tensor) -> Tensor:
    c, s, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return torch.stack([c, s, zero, -s, c, zero, zero, zero, one]).view(3, 3)


def _extent(points: Tensor) -> tuple[Tensor, Tensor]:
    """[..., N, 3] -> the lower and the upper corner [..., 3] of a box around all but a few."""
    beyond = round(OUTLIERS * (points.shape[-2] - 1))
    ordered = points.sort(dim=-2).values
    return ordered[..., beyond, :], ordered[..., -1 - beyond, :]
