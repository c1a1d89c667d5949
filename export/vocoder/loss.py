"""Losses of the vocoder: spectral at one FFT size, and the adversarial terms."""

import torch
from torch import Tensor
from torch.nn import functional as F

Features = list[list[Tensor]]


def stft_loss(estimate: Tensor, target: Tensor, n_fft: int) -> Tensor:
    """Spectral convergence plus L1 of log magnitudes of waveforms [B, N] at one FFT size (Yamamoto et al., 2020)."""
    window = torch.hann_window(n_fft, device=estimate.device)
    pair = torch.cat([estimate, target])
    spectrum = torch.stft(pair, n_fft, n_fft // 4, window=window, return_complex=True)
    magnitude = (spectrum.real.square() + spectrum.imag.square()).clamp(min=1e-7).sqrt()
    of_estimate, of_target = magnitude.chunk(2)
    convergence = (of_target - of_estimate).norm() / of_target.norm()
    return convergence + F.l1_loss(of_estimate.log(), of_target.log())


def discriminator_loss(both: Features) -> Tensor:
    """Hinge loss, averaged over discriminators; the first half of the batch is real, the second generated."""
    pairs = [features[-1].chunk(2) for features in both]
    return torch.stack([F.relu(1 - real).mean() + F.relu(1 + fake).mean() for real, fake in pairs]).mean()


def generator_loss(fake: Features) -> Tensor:
    return torch.stack([F.relu(1 - f[-1]).mean() for f in fake]).mean()


def feature_matching_loss(real: Features, fake: Features) -> Tensor:
    """L1 between the discriminators' features of real and generated waveforms, relative to their size."""
    terms = [
        F.l1_loss(of_fake, of_real.detach()) / of_real.detach().abs().mean().clamp(min=1e-5)
        for r, f in zip(real, fake, strict=True)
        for of_real, of_fake in zip(r[:-1], f[:-1], strict=True)
    ]
    return torch.stack(terms).mean()
