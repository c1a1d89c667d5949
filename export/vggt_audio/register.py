"""Poses in closed form: what views see of the same places, laid upon each other.

Each pair of views by a weighted rigid motion (Horn, 1987) from which outliers are weighed out; then all views along the
paths between them, the surer the more. A fixed number of steps without a decomposition, so that it exports.
"""

import torch
from torch import Tensor

from export.vggt_audio.poses import decode_poses, matrices_to_quaternions, rays

SHARPNESS = 2.0  # exponent of the probability of a match, where places are averaged
PAIR_STEPS = 8  # of weighing outliers out
ACROSS = 0.15  # angle between where two views see the same, in radians, that makes a match count a quarter,
ALONG = 0.25  # and difference of distance, relative to it: depth is less sure than direction
# What it weighs that cameras stand at one place, in weights of all matches, for each unit of the mean square by which
# what they see is apart, relative to its distance.
TOGETHER = 8.0
DOUBLINGS = 3  # paths of up to 2 ** 3 pairs
CERTAIN = 3.0  # confidence above which a pair is as good as any
FOURTH_POWERS = 5  # of a matrix, until its largest eigenvalue is all that is left
NEAREST_M = 0.1
TINY = 1e-9
TIE = 1e-3

Motion = tuple[Tensor, Tensor]
"""rotation [..., 3, 3] and shift [..., 3]: x -> rotation x + shift."""


def registered(pose_enc: Tensor, depth: Tensor, matches: Tensor, patch_size: int) -> tuple[Tensor, Tensor]:
    """pose_enc [B, S, 9], of which the fields of view count, depth [B, S, H, W, 1] and matches as in `register` -> the
    same with poses that follow from what views see of the same places, and [B, S] how sure they are."""
    size, half = (depth.shape[2], depth.shape[3]), patch_size // 2
    middle = (slice(None), slice(None), slice(half, None, patch_size), slice(half, None, patch_size))
    _, intrinsics = decode_poses(pose_enc, size)
    points = rays(intrinsics, size)[middle] * depth[middle]
    extrinsics, confidence = register(points.flatten(2, 3), matches)
    pose = [extrinsics[..., 3], matrices_to_quaternions(extrinsics[..., :3]), pose_enc[..., 7:]]
    return torch.cat(pose, dim=-1), confidence


def register(points: Tensor, matches: Tensor) -> tuple[Tensor, Tensor]:
    """points [B, S, N, 3] that views see, each in its camera's frame, and `MatchHead`'s matches [B, S, S, N, N] ->
    extrinsics [B, S, 3, 4] in the frame of the first view, and [B, S] how sure each view's place among the others is:
    about the number of patches that agree, from 0.
    """
    rotation, shift, support = pairwise(points, matches)
    width = widest(support)
    count = points.shape[1]
    views = torch.arange(count, device=points.device)
    # The view that most others are sure about. Both ends of the surest pair are that, and rounding is not to choose.
    centre = (width.clamp(max=CERTAIN).sum(-1) - TIE * views).argmax(-1)
    rotation, shift = along_paths(rotation, shift, support, centre)
    confidence = width.gather(2, centre[:, None, None].expand(-1, count, 1))[..., 0]
    # The view in the middle is where it is.
    others = torch.where(views == centre[:, None], CERTAIN, confidence)
    confidence = torch.where(views == centre[:, None], others.amax(dim=-1, keepdim=True), others)
    # The world is that of the first view.
    turned = rotation @ rotation[:, :1].transpose(-1, -2)
    moved = shift - (turned @ shift[:, :1, :, None])[..., 0]
    return torch.cat([turned, moved[..., None]], dim=-1), confidence


def pairwise(points: Tensor, matches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[B, S, S, 3, 3] and [B, S, S, 3]: the motion from the frame of one view to that of another, and its support
    [B, S, S], 0 between a view and itself.

    That cameras stand where others do is believed as far as the places disagree, and depth with them.
    """
    weights = matches.amax(dim=-1)
    shares = (matches / weights.clamp(min=TINY)[..., None]) ** SHARPNESS
    shares = shares / shares.sum(dim=-1, keepdim=True).clamp(min=TINY)
    there = shares @ points[:, None]  # [B, S, T, N, 3]
    here = points[:, :, None].expand_as(there)
    reach = distance(there)
    far = (distance(here) * reach).sqrt()  # how wrong a depth is grows with it
    trusted, together = weights, torch.zeros_like(weights[..., :1])
    for _ in range(PAIR_STEPS):
        rotation, shift = rigid(here, there, trusted / far, together)
        seen = moved(here, rotation, shift)
        away = distance(seen)
        along = ((away - reach) / torch.minimum(away, reach)).square()
        across = 2 - 2 * (seen * there).sum(dim=-1) / (away * reach)
        trusted = weights / (1 + across / ACROSS**2 + along / ALONG**2).square()
        apart = ((seen - there).square().sum(dim=-1) / far.square() * trusted).sum(dim=-1, keepdim=True)
        together = TOGETHER * apart / trusted.sum(dim=-1, keepdim=True).clamp(min=TINY)
    others = 1 - torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
    return rotation, shift, trusted.sum(dim=-1) * others


def distance(points: Tensor) -> Tensor:
    """[...] of points [..., 3] from the camera."""
    return points.norm(dim=-1).clamp(min=NEAREST_M)


def moved(points: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
    """points [..., N, 3] by one motion [...]."""
    return points @ rotation.transpose(-1, -2) + shift[..., None, :]


def rigid(here: Tensor, there: Tensor, weights: Tensor, together: Tensor) -> Motion:
    """The motion that brings points `here` [..., N, 3] nearest to those `there`, by weighted squares, and one camera
    nearest to the other, which weighs `together` [..., 1] times as much as all points."""
    total = (1 + together) * weights.sum(dim=-1, keepdim=True)
    shares = (weights / total.clamp(min=TINY))[..., None]
    # Cameras are at 0 and add to none of the sums.
    middle, target = (here * shares).sum(dim=-2), (there * shares).sum(dim=-2)
    products = (there * shares).transpose(-1, -2) @ here - target[..., None] * middle[..., None, :]
    rotation = nearest_rotation(products)
    return rotation, target - (rotation @ middle[..., None])[..., 0]


def turning(quaternion: Tensor) -> Tensor:
    """w x y z [4] of length 1 -> its rotation [3, 3]. A quadratic form, also for what is of another length."""
    w, x, y, z = quaternion
    rows = [
        torch.stack([w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)]),
        torch.stack([2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)]),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z]),
    ]
    return torch.stack(rows)


# [16, 9]: the same form as a table, from the products of all pairs of w x y z to all elements, by polarisation.
TURNING = torch.stack([turning(a + b) - turning(a - b) for a in torch.eye(4) for b in torch.eye(4)]).flatten(1) / 4


def nearest_rotation(products: Tensor) -> Tensor:
    """[..., 3, 3] sums of there * here^T -> the rotation that fits them best: Horn's quaternion, the axis that the
    largest eigenvalue of his matrix belongs to."""
    table = TURNING.to(products)
    matrix = (products.flatten(-2) @ table.T).unflatten(-1, (4, 4))
    matrix = matrix / norm(matrix) + torch.eye(4, dtype=matrix.dtype, device=matrix.device)
    for _ in range(FOURTH_POWERS):
        square = matrix @ matrix
        matrix = square @ square
        matrix = matrix / norm(matrix)
    # Of the projection on one axis, every column is that axis; the longest says it best.
    longest = matrix.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    quaternion = matrix.gather(-1, longest[..., None, None].expand(*longest.shape, 4, 1))
    quaternion = quaternion / norm(quaternion)
    pairs = (quaternion @ quaternion.transpose(-1, -2)).flatten(-2)
    return (pairs @ table).unflatten(-1, (3, 3))


def norm(matrix: Tensor) -> Tensor:
    """Of matrices [..., n, m], [..., 1, 1]."""
    return torch.linalg.vector_norm(matrix, dim=(-2, -1), keepdim=True).clamp(min=TINY)


def widest(support: Tensor) -> Tensor:
    """[B, S, S]: the support of the weakest pair on the best path between two views; boundless to the view itself."""
    views = support.shape[-1]
    itself = torch.eye(views, dtype=support.dtype, device=support.device)
    width = (support + support.transpose(1, 2)) / 2 + itself * torch.finfo(torch.float16).max
    for _ in range(4):  # 16 views are never further apart than 2 ** 4 pairs
        width = torch.minimum(width[..., None], width[:, None]).amax(dim=2)
    return width


def along_paths(rotation: Tensor, shift: Tensor, support: Tensor, centre: Tensor) -> Motion:
    """Motions between pairs -> [B, S] from the frame of the view `centre` [B] to every other: the mean over all paths
    of at most 2 ** DOUBLINGS pairs, each taken as often as it is supported."""
    batch, views = support.shape[:2]
    steps = torch.cat([rotation, shift[..., None]], dim=-1)
    last = torch.tensor([0.0, 0, 0, 1], dtype=steps.dtype, device=steps.device)
    steps = torch.cat([steps, last.expand(batch, views, views, 1, 4)], dim=-2)
    weight = ((support + support.transpose(1, 2)) / 2).square()
    weight = weight / weight.sum(dim=-1, keepdim=True).clamp(min=TINY)
    # To stay is a path as well, so that even and odd numbers of pairs mix.
    still = torch.eye(views, dtype=steps.dtype, device=steps.device)
    walk = weight[..., None, None] * steps.transpose(1, 2) + still[..., None, None] * torch.eye(4).to(steps)
    walk = walk / 2  # [B, S, T, 4, 4]
    for _ in range(DOUBLINGS):
        walk = torch.einsum("bstij,btujk->bsuik", walk, walk)
    at = centre[:, None, None, None, None].expand(-1, views, 1, 4, 4)
    reached = walk.gather(2, at)[:, :, 0]
    return nearest_rotation(reached[..., :3, :3]), reached[..., :3, 3] / reached[..., 3:, 3].clamp(min=TINY)
