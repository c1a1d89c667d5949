"""Which patches of two views show the same place, and how far attention is from looking there."""

from collections.abc import Mapping

import torch
from torch import Tensor

from export.vggt_audio.loss import masked_mean
from export.vggt_audio.poses import decode_poses

Projections = tuple[Tensor, Tensor]
"""Queries and keys [B, heads, S * P, width] of S views, each with P tokens, its patches the last of them."""

NOWHERE = -1
NEAREST_M = 0.1  # from a camera, that a point must be to be seen
HIDDEN = 0.05  # by what share of its distance a point may lie behind what the view shows there


def correspondences(batch: Mapping[str, Tensor], patch_size: int) -> Tensor:
    """[B, S, N, S]: for each of the N patches of a view, the number of the patch of every other view that shows the
    middle of it; NOWHERE where none does, and in its own view. `batch` as in `loss.supervised_loss`."""
    depth = batch["depth"][..., 0]
    _, views, height, width = depth.shape
    middle = patch_size // 2
    points = batch["world_points"][:, :, middle::patch_size, middle::patch_size].flatten(2, 3)
    extrinsics, intrinsics = decode_poses(batch["pose_enc"], (height, width))
    seen = torch.einsum("btij,bsnj->bsnti", extrinsics[..., :3], points) + extrinsics[:, None, None, :, :, 3]
    away = seen[..., 2]
    pixel = torch.einsum("btij,bsntj->bsnti", intrinsics, seen)[..., :2] / away.clamp(min=NEAREST_M)[..., None]
    column, row = pixel.round().nan_to_num(-1).clamp(-1, 1e6).long().unbind(-1)
    inside = (away > NEAREST_M) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = torch.where(inside, row * width + column, 0)  # [B, S, N, T]
    there = depth.flatten(2).gather(2, at.movedim(3, 1).flatten(2)).unflatten(2, at.shape[1:3]).movedim(1, 3)
    others = ~torch.eye(views, dtype=torch.bool, device=depth.device)[:, None]
    shown = inside & others & ((away - there).abs() < HIDDEN * away)
    patch = row // patch_size * (width // patch_size) + column // patch_size
    return torch.where(shown, patch, NOWHERE)


def matching_loss(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy of attention against `correspondences` [B, S, N, S]: all of it should be on the patches of other
    views that show the same, however many there are, and none on the patch itself. 0 without any."""
    views, patches = wanted.shape[1:3]
    tokens = queries.shape[2] // views
    q = queries.float().unflatten(2, (views, tokens))[:, :, :, -patches:]
    likeness = torch.einsum("bhsnd,bhkd->bhsnk", q, keys.float()) / q.shape[-1] ** 0.5
    known = wanted != NOWHERE
    at = torch.arange(views, device=wanted.device) * tokens + tokens - patches + wanted.clamp(min=0)
    right = likeness.gather(4, at[:, None].expand(*likeness.shape[:4], views))
    matched = known.any(dim=-1)
    right = right.masked_fill((~known & matched[..., None])[:, None], -torch.inf)
    cost = likeness.logsumexp(dim=-1) - right.logsumexp(dim=-1)
    return masked_mean(cost, matched[:, None].expand_as(cost))


def places_in_first(wanted: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Of `correspondences` [B, S, N, S] of views `columns` patches wide: x and y [B, S, N, 2] of each patch's match in
    the first view, from -1 to 1 across it, and which patches [B, S, N] have one."""
    match = wanted[..., 0]
    rows = wanted.shape[2] // columns
    x, y = match % columns, match // columns
    at = torch.stack([(2 * x + 1) / columns - 1, (2 * y + 1) / rows - 1], dim=-1)
    return at, match != NOWHERE
