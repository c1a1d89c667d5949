"""Discriminators of waveforms: of STFT magnitudes at several resolutions (UnivNet, Jang et al., 2021) and of the
waveform folded at several periods (HiFi-GAN, Kong et al., 2020)."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm


class ResolutionDiscriminator(nn.Module):
    """Convolutions over the compressed STFT magnitude at one resolution; gives every layer's features, logits last."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        layers: list[nn.Module] = [weight_norm(nn.Conv2d(1, channels, (7, 5), (2, 2), (3, 2)))]
        layers += [weight_norm(nn.Conv2d(channels, channels, (5, 3), (2, 1), (2, 1))) for _ in range(3)]
        self.layers = nn.ModuleList(layers)
        self.logits = weight_norm(nn.Conv2d(channels, 1, (3, 3), 1, 1))

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """waveform [B, N] -> features."""
        spectrum = torch.stft(waveform, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True)
        x = spectrum.abs().clamp(min=1e-5).pow(0.3)[:, None]
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.logits(x)]


class PeriodDiscriminator(nn.Module):
    """Convolutions along time over the waveform folded into rows of `period` samples."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, channels * 2, channels * 4, channels * 4]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(narrow, wide, (5, 1), (3, 1), (2, 0))) for narrow, wide in itertools.pairwise(widths)
        )
        self.logits = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, waveform: Tensor) -> list[Tensor]:
        x = F.pad(waveform, (0, -waveform.shape[-1] % self.period), mode="reflect")
        x = x.reshape(len(x), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return [*features, self.logits(x)]


class WaveformDiscriminator(nn.Module):
    """One discriminator for each resolution and period; a turn runs one of each kind."""

    def __init__(
        self,
        resolutions: tuple[int, ...] = (256, 512, 1024),
        periods: tuple[int, ...] = (2, 3, 5, 7, 11),
        resolution_channels: int = 16,
        period_channels: int = 8,
    ) -> None:
        super().__init__()
        self.by_resolution = nn.ModuleList(ResolutionDiscriminator(n_fft, resolution_channels) for n_fft in resolutions)
        self.by_period = nn.ModuleList(PeriodDiscriminator(period, period_channels) for period in periods)

    def forward(self, waveform: Tensor, turn: int) -> list[list[Tensor]]:
        """waveform [B, N] -> the features of the discriminators whose turn it is."""
        return [parts[turn % len(parts)](waveform) for parts in (self.by_resolution, self.by_period)]
