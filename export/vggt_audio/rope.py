"""Rotary position embedding over two axes (Su et al., 2021): half of each head turns with y, the other half with x."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines and sines [N, head width], float32: computed once for all blocks of a forward pass."""

    cos: Tensor
    sin: Tensor

    def repeated(self, times: int) -> "Rotation":
        """The same positions for `times` sequences behind each other."""
        return Rotation(*(table.repeat(times, 1) for table in self))


def grid_positions(rows: int, columns: int, special: int, device: torch.device) -> Tensor:
    """(y, x) [special + rows * columns, 2]: row-major and from 1, after `special` tokens at 0, which are not turned."""
    y = torch.arange(1, rows + 1, device=device)[:, None].expand(rows, columns)
    x = torch.arange(1, columns + 1, device=device)[None].expand(rows, columns)
    grid = torch.stack([y, x], dim=-1).flatten(0, 1)
    return torch.cat([grid.new_zeros(special, 2), grid])


def rotation(positions: Tensor, head_width: int, base: float) -> Rotation:
    """positions [N, 2] -> the angles position * base^(-i/n), n = head_width / 4 frequencies for each axis."""
    n = head_width // 4
    frequency = base ** (-torch.arange(n, device=positions.device, dtype=torch.float32) / n)
    angle = positions[..., None].float() * frequency  # [N, 2, n]
    angle = torch.cat([angle, angle], dim=-1).flatten(1)  # element i pairs with element i + n of its half
    return Rotation(angle.cos(), angle.sin())


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """x [..., N, head width] -> float32, (a, b) -> (a cos - b sin, b cos + a sin) for each pair."""
    x = x.float()
    a, b = x.unflatten(-1, (2, 2, x.shape[-1] // 4)).unbind(-2)
    turned = torch.stack([-b, a], dim=-2).flatten(-3)
    return x * by.cos + turned * by.sin
