"""What the tokens use of their bits, and what a window's border does to the sound."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR_FRAMES = 4
"""How far from a border a frame counts as next to it."""
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


@dataclass(frozen=True)
class Seams:
    """Frames (or samples) at the borders of windows, against all the others.

    A step is the mean absolute difference of a mel frame to the one before, in dB, or of a sample to the one before;
    the median counts. RMSE is of the decoded mel in the frames next to a border, which have context on one side only.
    """

    borders: int
    mel_step_border_db: float
    mel_step_elsewhere_db: float
    true_mel_step_border_db: float
    true_mel_step_elsewhere_db: float
    mel_rmse_border_db: float
    mel_rmse_elsewhere_db: float
    sample_step_border: float
    sample_step_elsewhere: float


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


def seams(mel: Tensor, true_mel: Tensor, waveform: Tensor, window_frames: int, hop_length: int) -> Seams:
    """mel, true_mel [T, F] in dB, waveform [n], all of one recording of several windows."""
    borders = range(window_frames, len(mel), window_frames)
    decoded_border, decoded_elsewhere = medians((mel[1:] - mel[:-1]).abs().mean(1), borders)
    true_border, true_elsewhere = medians((true_mel[1:] - true_mel[:-1]).abs().mean(1), borders)
    # A vocoder smears a border over its frame: look at the hop before and the hop after.
    near = [s for frame in borders for s in range((frame - 1) * hop_length, (frame + 1) * hop_length)]
    sample_border, sample_elsewhere = medians((waveform[1:] - waveform[:-1]).abs(), near)
    beside = torch.zeros(len(mel), dtype=torch.bool)
    for frame in borders:
        beside[frame - NEAR_FRAMES : frame + NEAR_FRAMES] = True
    squared = (mel - true_mel).square()
    return Seams(
        borders=len(borders),
        mel_step_border_db=decoded_border,
        mel_step_elsewhere_db=decoded_elsewhere,
        true_mel_step_border_db=true_border,
        true_mel_step_elsewhere_db=true_elsewhere,
        mel_rmse_border_db=float(squared[beside].mean().sqrt()),
        mel_rmse_elsewhere_db=float(squared[~beside].mean().sqrt()),
        sample_step_border=sample_border,
        sample_step_elsewhere=sample_elsewhere,
    )


def medians(steps: Tensor, at: Sequence[int]) -> tuple[float, float]:
    """The median of the steps [T - 1] into the positions ``at``, and of all others."""
    chosen = torch.zeros(len(steps), dtype=torch.bool)
    chosen[torch.tensor(at) - 1] = True
    return float(steps[chosen].median()), float(steps[~chosen].median())
