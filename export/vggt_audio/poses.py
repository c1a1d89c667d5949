"""Pose encoding and cameras: translation 3 (camera from world), quaternion xyzw 4, vertical and horizontal field of
view in radians. Axes are OpenCV's; extrinsics [..., 3, 4] are [R | t], x_camera = R x_world + t.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def encode_poses(extrinsics: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """[..., 3, 4] and [..., 3, 3] of images (H, W) -> [..., 9]; the principal point is taken to be the centre."""
    height, width = size
    fov_h = 2 * torch.atan(height / 2 / intrinsics[..., 1, 1])
    fov_w = 2 * torch.atan(width / 2 / intrinsics[..., 0, 0])
    quaternion = matrices_to_quaternions(extrinsics[..., :3])
    return torch.cat([extrinsics[..., 3], quaternion, torch.stack([fov_h, fov_w], dim=-1)], dim=-1)


def decode_poses(encoding: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """[..., 9] -> extrinsics [..., 3, 4] and intrinsics [..., 3, 3] in pixels; a field of view of 0 gives inf."""
    height, width = size
    rotation = quaternions_to_matrices(encoding[..., 3:7])
    extrinsics = torch.cat([rotation, encoding[..., :3, None]], dim=-1)
    focal_y = height / 2 / torch.tan(encoding[..., 7] / 2)
    focal_x = width / 2 / torch.tan(encoding[..., 8] / 2)
    zero, one = torch.zeros_like(focal_x), torch.ones_like(focal_x)
    rows = [focal_x, zero, zero + width / 2, zero, focal_y, zero + height / 2, zero, zero, one]
    intrinsics = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    return extrinsics, intrinsics


def quaternions_to_matrices(quaternions: Tensor) -> Tensor:
    """xyzw [..., 4] of any length but 0 -> rotations [..., 3, 3]."""
    x, y, z, w = quaternions.unbind(-1)
    scale = 2 / quaternions.square().sum(-1)
    rows = [
        1 - scale * (y * y + z * z),
        scale * (x * y - z * w),
        scale * (x * z + y * w),
        scale * (x * y + z * w),
        1 - scale * (x * x + z * z),
        scale * (y * z - x * w),
        scale * (x * z - y * w),
        scale * (y * z + x * w),
        1 - scale * (x * x + y * y),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def matrices_to_quaternions(matrices: Tensor) -> Tensor:
    """Rotations [..., 3, 3] -> unit xyzw [..., 4] with w >= 0, from the largest of the four components."""
    m = matrices
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Row i is the quaternion times four times its own component i.
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    rows = [
        torch.stack([1 + xx - yy - zz, xy, xz, x], dim=-1),
        torch.stack([xy, 1 - xx + yy - zz, yz, y], dim=-1),
        torch.stack([xz, yz, 1 - xx - yy + zz, z], dim=-1),
        torch.stack([x, y, z, 1 + xx + yy + zz], dim=-1),
    ]
    candidates = torch.stack(rows, dim=-2)
    largest = candidates.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)[..., None, None].expand(*m.shape[:-2], 1, 4)
    quaternion = F.normalize(candidates.gather(-2, largest)[..., 0, :], dim=-1)
    return torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)


def invert_poses(extrinsics: Tensor) -> Tensor:
    """Camera from world [..., 3, 4] -> world from camera [..., 3, 4]."""
    rotation = extrinsics[..., :3].transpose(-1, -2)
    return torch.cat([rotation, -rotation @ extrinsics[..., 3:]], dim=-1)


def rays(intrinsics: Tensor, size: tuple[int, int]) -> Tensor:
    """[..., H, W, 3] through the pixels of images (H, W), in the camera's frame and with z = 1; pixel centres are at
    integers."""
    u = torch.arange(size[1], device=intrinsics.device, dtype=intrinsics.dtype)
    v = torch.arange(size[0], device=intrinsics.device, dtype=intrinsics.dtype)[:, None]

    def of_pixels(row: int, column: int) -> Tensor:
        return intrinsics[..., row, column, None, None]

    x = (u - of_pixels(0, 2)) / of_pixels(0, 0)
    y = (v - of_pixels(1, 2)) / of_pixels(1, 1)
    return torch.stack(torch.broadcast_tensors(x, y, torch.ones_like(x + y)), dim=-1)


def unproject(depth: Tensor, extrinsics: Tensor, intrinsics: Tensor) -> Tensor:
    """depth [..., H, W, 1] -> points of the world [..., H, W, 3]; see `rays`."""
    seen = rays(intrinsics, (depth.shape[-3], depth.shape[-2])) * depth
    rotation, origin = invert_poses(extrinsics)[..., None, :, :].split([3, 1], dim=-1)
    return seen @ rotation.transpose(-1, -2) + origin.transpose(-1, -2)
