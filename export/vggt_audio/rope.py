"""Rotary position embedding over two axes (Su et al., 2021): half of each head turns with y, the other half with x."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Cosines, and sines with the sign that they have in the sum, [N, head width], float32.

    Computed once for all blocks of a forward pass.
    """

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
    cos, sin = angle.cos(), angle.sin()
    return Rotation(torch.cat([cos, cos], dim=-1).flatten(1), torch.cat([-sin, sin], dim=-1).flatten(1))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """x [..., N, head width] -> float32: (a, b) to (a cos - b sin, b cos + a sin), of each axis its a, then its b."""
    x = x.float()
    y_a, y_b, x_a, x_b = x.chunk(4, dim=-1)
    return x * by.cos + torch.cat([y_b, y_a, x_b, x_a], dim=-1) * by.sin
