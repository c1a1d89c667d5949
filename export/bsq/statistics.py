"""What the tokens use of their bits."""

from dataclasses import dataclass

import torch
from torch import Tensor

DEAD = 0.01
"""A bit that is the same in all but this share of the tokens says nothing."""


@dataclass(frozen=True)
class CodeUse:
    """How the tokens of real sound are spread."""

    tokens: int
    distinct: int
    bits: int
    bit_entropy: float  # sum over the bits, in bits: how much they could say if they were independent
    dead_bits: int
    mel_rmse_db: float  # decoded mel against the true one


def code_use(tokens: Tensor, bits: int, mel_rmse_db: float) -> CodeUse:
    """tokens [N] -> how they use their bits."""
    ones = (tokens[:, None] >> torch.arange(bits) & 1).double().mean(0)
    entropy = -(torch.xlogy(ones, ones) + torch.xlogy(1 - ones, 1 - ones)) / torch.log(torch.tensor(2.0))
    return CodeUse(
        tokens=len(tokens),
        distinct=len(set(tokens.tolist())),
        bits=bits,
        bit_entropy=float(entropy.sum()),
        dead_bits=int(((ones < DEAD) | (ones > 1 - DEAD)).sum()),
        mel_rmse_db=mel_rmse_db,
    )
