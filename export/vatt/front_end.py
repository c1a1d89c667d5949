"""Waveform to tokens: patches as the paper has them, or merged ones behind local layers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vatt.config import AudioConfig

CPU = torch.device("cpu")  # constants are made there, whatever device a model is
CONTEXT = 4  # patches that the local layers see at a time
FLOOR = 1e-4  # of a band's power, relative to the mean power of the window
SILENCE = 1e-8  # mean power that no window falls below


class Patches(nn.Module):
    """One linear map of each patch."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.patch, config.width)
        self.patch = config.patch

    def forward(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        """waveform [B, L], zeros past valid_samples [B] -> [B, L / patch, W]."""
        patches = waveform.reshape(waveform.shape[0], -1, self.patch)
        return self.project(patches.to(self.project.weight.dtype))


class LocalPatches(nn.Module):
    """Four neighbouring patches -> linear -> power -> bands -> log; then `merge` of these -> linear.

    All maps are learnt. They begin as a windowed Fourier transform and mel bands: from ten hours of sound a random
    beginning learns neither. The level of a window does not matter: it is divided by its root mean square.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.patch, self.merge = config.patch, config.merge
        basis, bands = fourier_basis(config), mel_bands(config)
        self.basis, self.bands = (nn.Linear(matrix.shape[1], matrix.shape[0], bias=False) for matrix in (basis, bands))
        self.project = nn.Linear(config.merge * config.bands, config.width)
        with torch.no_grad():
            self.basis.weight.copy_(basis)
            self.bands.weight.copy_(bands)

    def forward(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        """waveform [B, L], zeros past valid_samples [B] -> [B, L / (patch * merge), W]."""
        levels = self.levels(waveform, valid_samples)
        batch, patches, bands = levels.shape
        merged = levels.reshape(batch, patches // self.merge, self.merge * bands)
        return self.project(merged.to(self.project.weight.dtype))

    def levels(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        """[B, L / patch, bands]: natural logarithms of the power, about -2 to 2."""
        power = waveform.square().sum(1, keepdim=True) / valid_samples[:, None]
        patches = (waveform * (power + SILENCE).rsqrt()).reshape(waveform.shape[0], -1, self.patch)
        count = patches.shape[1]
        padded = F.pad(patches, (0, 0, 1, CONTEXT - 2))
        seen = torch.cat([padded[:, start : start + count] for start in range(CONTEXT)], dim=-1)
        real, imaginary = self.basis(seen).chunk(2, dim=-1)
        loudness = self.bands(real.square() + imaginary.square()).clamp(min=0) + FLOOR
        return (loudness.log() + 4) / 4


def fourier_basis(config: AudioConfig) -> Tensor:
    """[2 * bins, samples]: Hann-windowed cosines, then sines, up to `max_hz`; white noise has a mean power of 1."""
    samples = CONTEXT * config.patch
    bins = int(config.max_hz * samples / config.sample_rate) + 1
    window = torch.hann_window(samples, dtype=torch.float64, device=CPU)
    angle = 2 * math.pi / samples * torch.arange(bins, device=CPU)[:, None] * torch.arange(samples, device=CPU)
    waves = torch.cat([angle.cos(), angle.sin()]) * window / window.square().sum().sqrt()
    return waves.float()


def mel_bands(config: AudioConfig) -> Tensor:
    """[bands, bins]: triangles on the mel scale (HTK), each of a sum of 1; none is narrower than a bin."""
    spacing = config.sample_rate / (CONTEXT * config.patch)
    hz = torch.arange(int(config.max_hz / spacing) + 1, dtype=torch.float64, device=CPU) * spacing
    top = 2595 * math.log10(1 + config.max_hz / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, config.bands + 2, dtype=torch.float64, device=CPU) / 2595) - 1)
    low, centre, high = (edges[start : start + config.bands, None] for start in range(3))
    rise = (hz - low.minimum(centre - spacing)) / (centre - low).clamp(min=spacing)
    fall = (high.maximum(centre + spacing) - hz) / (high - centre).clamp(min=spacing)
    triangles = rise.minimum(fall).clamp(min=0)
    return (triangles / triangles.sum(1, keepdim=True)).float()
