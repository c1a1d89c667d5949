"""Losses of the tokenizer: reconstruction in model space and the adversarial terms."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reconstruction_loss(reconstruction: Tensor, target: Tensor, delta_weight: float) -> Tensor:
    """L1 of the mel spectrogram [B, T, F] plus `delta_weight` times the L1 of its frame-to-frame differences."""
    level = F.l1_loss(reconstruction, target)
    return level + delta_weight * F.l1_loss(reconstruction.diff(dim=1), target.diff(dim=1))


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def generator_loss(fake: Tensor) -> Tensor:
    return -fake.mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """||grad of reconstruction|| / ||grad of adversarial|| at the last layer, in [0, 1e4] (Esser et al., 2021)."""
    (from_reconstruction,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (from_adversarial,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (from_reconstruction.norm() / (from_adversarial.norm() + 1e-4)).clamp(0, 1e4).detach()


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: the squared norm of the discriminator's gradient at real data, differentiable (Mescheder et al., 2018)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2)).mean()


def quantizer_weight(step: int, weight: float, *, ramp: int = 2000) -> float:
    """Three times `weight` at the start, falling linearly to `weight` over the first `ramp` steps."""
    return weight * max(1.0, 3.0 - 2.0 * step / ramp)
