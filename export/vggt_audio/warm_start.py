"""What training from scratch begins with in place of noise, for it has far fewer pictures than DINOv2 had."""

import math

import torch
from torch import Tensor

from export.vggt_audio.vit import VisionTransformer

# Luminance, yellow against blue and red against green, orthogonal; pictures vary least along the last two.
OPPONENT = ((0.5774, 0.5774, 0.5774), (0.8165, 0.8165, -1.633), (1.4142, -1.4142, 0.0))
LUMINANCE_SHARE = 0.6  # of the filters


@torch.no_grad()
def warm_start(vit: VisionTransformer) -> None:
    """Patches begin as their cosine spectra, each coefficient about as strong as another, and positions as sines.

    The spectra of pictures fall by 1/f (Field, 1987), so filters grow with it. Positions are those of the original
    transformer along two axes (Dosovitskiy et al., 2021, appendix D.4, found 2-D positions as good as learnt ones).
    """
    weight = vit.patch_embed.proj.weight
    filters = cosine_filters(weight.shape[0], weight.shape[-1])
    weight.copy_(filters)
    if vit.patch_embed.proj.bias is not None:
        vit.patch_embed.proj.bias.zero_()
    grid = math.isqrt(vit.pos_embed.shape[1] - 1)
    vit.pos_embed[:, 1:] = 0.5 * sine_positions(grid, vit.pos_embed.shape[-1])


def cosine_filters(number: int, size: int) -> Tensor:
    """[number, 3, size, size]: the lowest frequencies of the DCT-II in each opponent colour."""
    steps = torch.arange(size, dtype=torch.float32)
    basis = torch.cos(math.pi / size * (steps + 0.5) * steps[:, None])
    basis = basis / basis.norm(dim=1, keepdim=True)  # [frequency, pixel]
    frequency = (steps[:, None].square() + steps.square()).sqrt()
    order = frequency.flatten().argsort(stable=True)
    luminance = min(round(LUMINANCE_SHARE * number), size * size)
    counts = (luminance, (number - luminance + 1) // 2, (number - luminance) // 2)
    filters = []
    for color, count in zip(OPPONENT, counts, strict=True):
        for index in order[:count].tolist():
            row, column = divmod(index, size)
            pattern = torch.outer(basis[row], basis[column]) * 1.5 * (1 + frequency[row, column]) / size
            filters.append(torch.tensor(color)[:, None, None] * pattern)
    return torch.stack(filters)


def sine_positions(grid: int, channels: int) -> Tensor:
    """[grid * grid, channels]: half of the channels for rows, half for columns, sines before cosines."""
    wavelengths = torch.logspace(0, -2, channels // 4)
    angles = torch.linspace(-math.pi, math.pi, grid)[:, None] * wavelengths * 4
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis[:, None].expand(-1, grid, -1), axis[None].expand(grid, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
