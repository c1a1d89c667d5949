"""Vocos (Siuzdak, 2023, arXiv 2306.00814) at a small size: ConvNeXt trunk, magnitude and phase head, inverse STFT."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.layers.istft import InverseStft


@dataclass(frozen=True)
class VocoderConfig:
    n_mels: int = 128
    width: int = 256
    layers: int = 6
    expansion: int = 3
    kernel: int = 7
    n_fft: int = 640  # of the synthesis; independent of the mel spectrogram's
    hop_length: int = 160

    @property
    def context_frames(self) -> int:
        """Frames on each side that can change a sample: one convolution before the blocks, one in each, the STFT."""
        return (self.layers + 1) * (self.kernel // 2) + self.n_fft // 2 // self.hop_length


PRESETS = {"small": VocoderConfig(), "base": VocoderConfig(width=512, layers=8)}


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution -> LayerNorm -> Linear -> GELU -> Linear -> LayerScale (Liu et al., 2022, in 1-D)."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        width = config.width
        self.depthwise = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.expansion * width)
        self.narrow = nn.Linear(config.expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 1 / config.layers))

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, W]."""
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        return x + self.gain * self.narrow(F.gelu(self.widen(y)))


class Vocoder(nn.Module):
    """mel [B, T, F] in model space -> waveform [B, T * hop]."""

    def __init__(self, config: VocoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Conv1d(config.n_mels, config.width, config.kernel, padding=config.kernel // 2)
        self.norm_in = nn.LayerNorm(config.width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(config) for _ in range(config.layers))
        self.norm_out = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.n_fft + 2)
        self.inverse = InverseStft(config.n_fft, config.hop_length)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, mel: Tensor) -> Tensor:
        # Silence, not zero, lies beyond the ends: -1 in model space. Shifting by one makes it the padding's zero.
        x = self.norm_in(self.embed((mel + 1).transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        spectrum = self.head(self.norm_out(x)).float()  # half precision ends here: the inverse sums many terms
        magnitude, phase = spectrum.transpose(1, 2).chunk(2, dim=1)
        magnitude = magnitude.clamp(max=7.0).exp()  # above n_fft / 2 would clip anyway
        return self.inverse(magnitude * phase.cos(), magnitude * phase.sin())
