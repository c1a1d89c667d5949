"""Reverberation time of a room from the absorption of its surfaces, differentiable."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Method = Literal["sabine", "eyring"]

SPEED_OF_SOUND = 343.0
"""m/s, in air of 20 C."""
SABINE = 24 * math.log(10) / SPEED_OF_SOUND
"""Seconds per metre: the 0.161 of Sabine's formula (Kuttruff, Room Acoustics, section 5.1)."""
AIR_PER_M = (1.01265e-4, 3.01581e-4, 6.28176e-4, 1.07409e-3, 2.27657e-3, 6.83074e-3, 2.42441e-2, 8.39387e-2)
"""Energy attenuation of air per metre, octave bands 125 Hz to 16 kHz: 20 C, 50 % humidity, 1 atm (ISO 9613-1)."""
MARGIN = 1e-6
"""How near to 0 and 1 mean absorption may come: at 0 without air a room never falls silent."""


def compute_rt60(
    acoustic_properties: Mapping[str, Tensor],
    room_volume: float,
    surface_area: float,
    method: Method = "sabine",
    air: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """RT60 [F] in seconds of the room whose surfaces all the maps show.

    Args:
        acoustic_properties: the model's; of them absorption [..., F] in [0, 1] is read.
        room_volume: cubic metres.
        surface_area: square metres, of everything that the room's air touches.
        method: Sabine's formula, or Eyring's for rooms that absorb much.
        air: [F] energy attenuation per metre (`AIR_PER_M`); none if left out.
        weights: [...] of the pixels, such as the area that each shows or its confidence; equal if left out.

    Raises:
        ValueError: the volume or the area is not positive.
    """
    if not (room_volume > 0 and surface_area > 0):
        raise ValueError(f"a room has a volume and an area: not {room_volume} m3 and {surface_area} m2")
    absorption = acoustic_properties["absorption"]
    mean = mean_absorption(absorption.flatten(0, -2), None if weights is None else weights.flatten())
    return reverberation_time(mean, mean.new_tensor(room_volume), mean.new_tensor(surface_area), method, air)


def mean_absorption(absorption: Tensor, weights: Tensor | None = None) -> Tensor:
    """[..., N, F], [..., N] -> [..., F]; weights that are all zero count as equal."""
    if weights is None:
        return absorption.mean(dim=-2)
    weights = weights.clamp(min=0)
    total = weights.sum(dim=-1, keepdim=True)
    share = torch.where(total > 0, weights / total.clamp(min=1e-12), 1 / weights.shape[-1])
    return (absorption * share[..., None]).sum(dim=-2)


def reverberation_time(
    absorption: Tensor, volume: Tensor, area: Tensor, method: Method = "sabine", air: Tensor | None = None
) -> Tensor:
    """[..., F] seconds from mean absorption [..., F] and the rooms' volume [...] in m3 and area [...] in m2.

    Sabine: 0.161 V / (S a + 4 m V). Eyring: -ln(1 - a) instead of a (Kuttruff, Room Acoustics, sections 5.1 and 5.3).
    """
    absorption = absorption.clamp(MARGIN, 1 - MARGIN)
    exponent = -torch.log1p(-absorption) if method == "eyring" else absorption
    in_air = 0 if air is None else 4 * volume[..., None] * air
    return SABINE * volume[..., None] / (area[..., None] * exponent + in_air)
