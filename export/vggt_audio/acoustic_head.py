"""Acoustic materials per pixel: absorption by octave band, reflection, scattering, impedance."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from export.vggt_audio.acoustics import compute_rt60
from export.vggt_audio.dpt_head import DPTHead

ReflectionMode = Literal["conserving", "sigmoid"]
LOWEST_BAND = 125  # Hz; each band is an octave above the one before
OTHER_CHANNELS = 5  # reflection, scattering, impedance (re, im), confidence


class AcousticHead(nn.Module):
    """A DPT head whose channels are [absorption of each band | reflection | scattering | re | im | confidence]."""

    freq_centers: Tensor
    compute_rt60 = staticmethod(compute_rt60)

    def __init__(
        self,
        width: int,
        patch_size: int,
        features: int,
        out_channels: Sequence[int],
        freq_bands: int,
        reflection_mode: ReflectionMode,
    ) -> None:
        super().__init__()
        self.freq_bands = freq_bands
        self.reflection_mode: ReflectionMode = reflection_mode
        self.dpt = DPTHead(
            width, patch_size, features, out_channels, freq_bands + OTHER_CHANNELS, "linear", confidence="sigmoid"
        )
        self.register_buffer("freq_centers", LOWEST_BAND * 2 ** torch.arange(freq_bands))

    def forward(
        self, tokens: Sequence[Tensor], patch_start: int, size: tuple[int, int]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """-> maps [B, S, H, W, C] by name with `freq_centers` [bands] in Hz, and their confidence [B, S, H, W]."""
        raw, confidence = self.dpt(tokens, patch_start, size)
        return self.properties(raw), confidence

    def properties(self, raw: Tensor) -> dict[str, Tensor]:
        """raw [..., bands + 4] -> absorption, reflection, scattering in [0, 1]; impedance z = Z / (rho c), re and im.

        In the mode "conserving" absorption + reflection <= 1 holds in every band, because reflection is a share of
        what the most absorbing band leaves. "sigmoid" leaves the two independent.
        """
        absorption, reflection, scattering, impedance = raw.float().split([self.freq_bands, 1, 1, 2], dim=-1)
        absorption, reflection, scattering = absorption.sigmoid(), reflection.sigmoid(), scattering.sigmoid()
        if self.reflection_mode == "conserving":
            reflection = (1 - absorption.amax(dim=-1, keepdim=True)) * reflection
        return {
            "absorption": absorption,
            "reflection": reflection,
            "scattering": scattering,
            "impedance": impedance,
            "freq_centers": self.freq_centers,
        }
