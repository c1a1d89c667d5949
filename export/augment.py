"""SpecAugment for tokenizers (Park et al., 2019): only the encoder's input is masked, the target stays clean."""

import torch
from torch import Tensor


def mask_spectrogram(mel: Tensor, *, probability: float, fraction: float = 0.1, fill: float = -1.0) -> Tensor:
    """A copy of mel [B, T, F] in model space with one time and one frequency mask, each at `probability`."""
    masked = mel.clone()
    for item in masked:
        for view in (item, item.T):  # a mask over rows of the transpose is a frequency mask
            if torch.rand(()) < probability:
                length = int(torch.rand(()) * fraction * view.shape[0])
                start = int(torch.rand(()) * (view.shape[0] - length))
                view[start : start + length] = fill
    return masked
