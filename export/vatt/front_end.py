"""Waveform to tokens: patches as the paper has them, or merged ones behind local layers."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from export.vatt.config import AudioConfig

CPU = torch.device("cpu")  # constants are made there, whatever device a model is
FRAME_PATCHES = 2  # between the local layers' spectra; each sees as many before and behind
WINDOW_S = 0.025
MAX_HZ = 8_000
LEVEL = 0.06  # root mean square that a waveform is brought to
SILENCE = 1e-8  # mean power that no window falls below
FLOOR = 1e-10  # power of a band
RANGE = 8.0  # powers of ten below the loudest band that are heard


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
    """Six neighbouring patches -> power of mel bands, in logarithms; these by two convolutions -> one token of four.

    It hears as Whisper does (Radford et al., 2022), so that its weights can be gone on from; a frame is two patches,
    10.7 ms. The level of a window does not matter: it is divided by its root mean square.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.frame = FRAME_PATCHES * config.patch
        self.conv1 = nn.Conv1d(config.bands, config.width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("basis", fourier_basis(config), persistent=False)
        self.register_buffer("filters", mel_filters(config), persistent=False)

    def forward(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        """waveform [B, L], zeros past valid_samples [B] -> [B, L / (4 * patch), W]."""
        levels = self.levels(waveform, valid_samples).transpose(1, 2)
        starts = self.frame * torch.arange(levels.shape[2], device=waveform.device)
        # What is behind the sound is as nothing at all: a longer window hears the same.
        heard = (starts < valid_samples[:, None])[:, None].to(self.conv1.weight.dtype)
        x = F.gelu(self.conv1(levels.to(heard.dtype) * heard)) * heard
        return F.gelu(self.conv2(x)).transpose(1, 2)

    def levels(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        """[B, frames, bands] float32: Whisper's logarithmic mel spectrogram, about -1 to 1."""
        power = waveform.float().square().sum(1, keepdim=True) / valid_samples[:, None]
        frames = (LEVEL * waveform * power.clamp(min=SILENCE).rsqrt()).reshape(waveform.shape[0], -1, self.frame)
        seen = torch.cat([F.pad(frames, (0, 0, 1, 0))[:, :-1], frames, F.pad(frames, (0, 0, 0, 1))[:, 1:]], dim=-1)
        real, imaginary = (seen @ self.basis).chunk(2, dim=-1)
        bands = (real.square() + imaginary.square()) @ self.filters
        logarithms = bands.clamp(min=FLOOR).log10()
        loudest = logarithms.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(logarithms, loudest - RANGE) + 4) / 4


def fourier_basis(config: AudioConfig) -> Tensor:
    """[samples, 2 * bins]: Hann-windowed cosines, then sines, 40 Hz apart; loud as at Whisper's 16 kHz."""
    samples, window = 3 * FRAME_PATCHES * config.patch, round(WINDOW_S * config.sample_rate)
    bins = round(MAX_HZ * WINDOW_S) + 1
    place = torch.arange(samples, dtype=torch.float64, device=CPU) - (samples - window) // 2
    hann = torch.where((place >= 0) & (place < window), torch.sin(math.pi * place / window).square(), 0.0)
    angle = 2 * math.pi / window * place[:, None] * torch.arange(bins, device=CPU)
    scale = 16_000 / config.sample_rate
    return (torch.cat([angle.cos(), angle.sin()], dim=1) * hann[:, None] * scale).float()


def mel_filters(config: AudioConfig) -> Tensor:
    """[bins, bands]: triangles of equal area on Slaney's mel scale."""
    with CPU:
        return melscale_fbanks(round(MAX_HZ * WINDOW_S) + 1, 0.0, MAX_HZ, config.bands, 2 * MAX_HZ, "slaney", "slaney")
