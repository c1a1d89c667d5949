"""The mel front end of training: log-mel spectrograms against a fixed full-scale reference.

Frame t is centred at sample t * hop of the signal extended by n_fft / 2 zeros on both sides; there are
ceil(num_samples / hop) frames. Level is dB relative to a full-scale sine's peak bin, n_fft / 4, clipped to [-80, 0].
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.transforms import MelSpectrogram


@dataclass(frozen=True)
class MelConfig:
    sample_rate: int = 16_000
    n_fft: int = 1024
    hop_length: int = 160
    n_mels: int = 128
    f_min: float = 0.0
    f_max: float = 8_000.0
    db_min: float = -80.0
    db_max: float = 0.0

    @property
    def db_reference(self) -> float:
        return 20 * math.log10(self.n_fft / 4)


class LogMel(nn.Module):
    """waveform [..., num_samples] in [-1, 1] -> mel [..., T, F] in dB of full scale, [-80, 0]."""

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = MelSpectrogram(
            sample_rate=config.sample_rate,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            f_min=config.f_min,
            f_max=config.f_max,
            n_mels=config.n_mels,
            center=False,
        )

    def forward(self, waveform: Tensor) -> Tensor:
        config = self.config
        frames = math.ceil(waveform.shape[-1] / config.hop_length)
        padded = F.pad(waveform, (config.n_fft // 2, config.n_fft // 2 + config.hop_length))
        power = self.spectrogram(padded)[..., :frames].transpose(-1, -2)
        level = 10 * power.clamp(min=1e-10).log10() - config.db_reference
        return level.clamp(config.db_min, config.db_max)


def normalise(db: Tensor, config: MelConfig) -> Tensor:
    """dB of full scale -> model space [-1, 1]."""
    return (db - config.db_min) * (2 / (config.db_max - config.db_min)) - 1


def denormalise(x: Tensor, config: MelConfig) -> Tensor:
    """Model space -> dB of full scale, clipped to the range."""
    return ((x + 1) * ((config.db_max - config.db_min) / 2) + config.db_min).clamp(config.db_min, config.db_max)


def example_mel(batch: int, frames: int, generator: torch.Generator) -> Tensor:
    """[B, T, 128] in dB of full scale: noise about as smooth and as loud as speech (mean -59, deviation 15 dB)."""
    config = MelConfig()
    coarse = torch.randn(batch, 1, frames // 4 + 2, config.n_mels // 4, generator=generator)
    smooth = F.interpolate(coarse, size=(frames, config.n_mels), mode="bilinear")[:, 0]
    return (22 * smooth - 59).clamp(config.db_min, config.db_max)
