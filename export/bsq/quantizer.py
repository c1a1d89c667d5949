"""Binary spherical quantisation (Zhao, Xiong and Krähenbühl, 2024, arXiv 2406.07548)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class QuantizerConfig:
    bits: int = 18  # d
    group_size: int = 9  # g, divides d; the entropy of a group is over its 2^g sub-codes
    normalise_input: bool = True  # project z onto the unit sphere
    normalise_codes: bool = True  # codes are +-1/sqrt(d) instead of +-1
    entropy: Literal["group", "analytical"] = "group"
    inv_temperature: float = 1.0  # tau
    commitment: float = 0.0  # beta
    sample_entropy: float = 1.0  # gamma0
    codebook_entropy: float = 1.0  # gamma
    entropy_weight: float = 1.0  # zeta

    def __post_init__(self) -> None:
        if self.bits % self.group_size:
            raise ValueError(f"group_size {self.group_size} does not divide {self.bits} bits")
        if self.bits > 62:
            raise ValueError(f"a token of {self.bits} bits does not fit into int64")


@dataclass(frozen=True)
class Quantized:
    codes: Tensor  # [B, N, d], +-scale, straight-through gradient
    tokens: Tensor  # [B, N] int64
    loss: Tensor  # scalar
    commitment: Tensor  # scalar
    sample_entropy: Tensor  # scalar, nats
    codebook_entropy: Tensor  # scalar, nats
    probabilities: Tensor  # [G, 2^g] ('group') or [d, 2] ('analytical'), mean over tokens


class BinarySphericalQuantizer(nn.Module):
    """Quantises [B, N, d] to the corners of a hypercube on the sphere.

    Bit i is 1 iff z_i > 0; element 0 is the most significant bit of a token. Bits are taken from signs and shifted as
    integers: sums of powers of two in floating point are wrong above 24 bits (and above 8 in bfloat16).
    """

    powers: Tensor
    group_codes: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.scale = config.bits**-0.5 if config.normalise_codes else 1.0
        self.register_buffer("powers", 2 ** torch.arange(config.bits - 1, -1, -1), persistent=False)
        if config.entropy == "group":
            size = config.group_size
            bits = torch.arange(2**size)[:, None] >> torch.arange(size - 1, -1, -1) & 1
            self.register_buffer("group_codes", (2.0 * bits - 1.0) * self.scale, persistent=False)  # [2^g, g]

    def project(self, h: Tensor) -> Tensor:
        """h [B, N, d] onto the unit sphere (or unchanged), in float32."""
        return F.normalize(h.float(), dim=-1, eps=1e-12) if self.config.normalise_input else h.float()

    def tokens(self, z: Tensor) -> Tensor:
        """z [B, N, d] -> tokens [B, N] int64 in [0, 2^d)."""
        return ((z > 0).long() * self.powers).sum(-1)

    def codes(self, tokens: Tensor) -> Tensor:
        """tokens [B, N] -> codes [B, N, d] float32, +-scale."""
        bits = (tokens[..., None] // self.powers) % 2
        return (2.0 * bits.float() - 1.0) * self.scale

    def forward(self, z: Tensor) -> Quantized:
        """z [B, N, d], already projected. Raises ValueError on NaN, which has no bit."""
        if torch.isnan(z).any():
            raise ValueError("cannot quantise NaN")
        signs = torch.where(z > 0, 1.0, -1.0)
        codes = self.scale * (z + (signs - z).detach())  # the gradient of a code is `scale` times the identity
        sample_entropy, codebook_entropy, probabilities = self._entropies(z)
        config = self.config
        commitment = config.commitment * ((codes.detach() - z) ** 2).sum(-1).mean()
        entropy = config.sample_entropy * sample_entropy - config.codebook_entropy * codebook_entropy
        loss = commitment + config.entropy_weight * entropy / config.inv_temperature
        return Quantized(codes, self.tokens(z), loss, commitment, sample_entropy, codebook_entropy, probabilities)

    def _entropies(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean entropy of a token's soft assignment, entropy of the mean assignment, and that mean."""
        tau = self.config.inv_temperature
        if self.config.entropy == "analytical":
            zero = torch.sigmoid(-4 * tau * self.scale * z)
            p = torch.stack([zero, 1 - zero], dim=-1)  # [B, N, d, 2]
        else:
            groups = z.unflatten(-1, (-1, self.config.group_size))  # [B, N, G, g]
            p = (2 * tau * groups @ self.group_codes.T).softmax(-1)  # [B, N, G, 2^g]
        mean = p.mean((0, 1))
        return _entropy(p).sum(-1).mean(), _entropy(mean).sum(), mean


def _entropy(p: Tensor) -> Tensor:
    return -(p * (p + 1e-8).log()).sum(-1)


def group_indices(tokens: Tensor, bits: int, group_size: int) -> Tensor:
    """tokens [..., N] -> [..., N, bits // group_size]: consecutive runs of bits, most significant first."""
    shifts = torch.arange(bits - group_size, -1, -group_size, device=tokens.device)
    return (tokens[..., None] >> shifts) & (2**group_size - 1)
