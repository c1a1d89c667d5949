"""Contrastive losses between vectors of length 1, and what they are divided by."""

import math

import torch
from torch import Tensor, nn

COLDEST, WARMEST = 0.01, 0.1


class Temperature(nn.Module):
    """Learnt, and kept in [0.01, 0.1]; begins at the paper's 0.07."""

    def __init__(self) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.tensor(math.log(0.07)))

    def forward(self) -> Tensor:
        # Clamped as a value: with a clamped gradient it could never come back from the edge.
        clamped = self.logarithm.clamp(math.log(COLDEST), math.log(WARMEST))
        return (self.logarithm + (clamped - self.logarithm).detach()).exp()


def mil_nce(logits: Tensor, positives: Tensor) -> Tensor:
    """-log(sum of exp over the positives / sum of exp over all), mean over rows that have one (Miech et al., 2020).

    logits [B, M], -inf where a pair is to be overlooked; positives [B, M] boolean. With one positive it is InfoNCE.
    """
    rows = positives.any(1)
    positive = logits.masked_fill(~positives, -torch.inf)[rows].logsumexp(1)
    return (logits[rows].logsumexp(1) - positive).sum() / rows.sum().clamp(min=1)


def symmetric_nce(
    audio: Tensor, text: Tensor, positives: Tensor, temperature: Tensor, more_audio: "Negatives", more_text: "Negatives"
) -> Tensor:
    """audio [B, D] against text [M, D] and more texts, and text against audio and more audio; positives [B, M]."""
    similarity = audio @ text.T / temperature
    to_text = torch.cat([similarity, more_text.logits(audio, temperature)], dim=1)
    to_audio = torch.cat([similarity.T, more_audio.logits(text, temperature)], dim=1)
    losses = [
        mil_nce(logits, torch.cat([true, true.new_zeros(len(true), logits.shape[1] - true.shape[1])], dim=1))
        for logits, true in ((to_text, positives), (to_audio, positives.T))
    ]
    return (losses[0] + losses[1]) / 2


class Negatives:
    """Vectors [N, D] without gradient to be told from, except where `alike` [B, N]: those say the same."""

    def __init__(self, vectors: Tensor, alike: Tensor) -> None:
        self.vectors, self.alike = vectors, alike

    def logits(self, queries: Tensor, temperature: Tensor) -> Tensor:
        return (queries @ self.vectors.T / temperature).masked_fill(self.alike, -torch.inf)


def shared(bags: Tensor, others: Tensor) -> Tensor:
    """[B, N]: whether bags [B, K] and others [N, J], numbers from 0, have one in common; negative ones are none."""
    common = (bags[:, None, :, None] == others[None, :, None, :]) & (bags >= 0)[:, None, :, None]
    return common.flatten(2).any(2)


def cosine_distance(vectors: Tensor, targets: Tensor) -> Tensor:
    """Mean of 1 - cosine, of vectors of length 1: the regression that distils one space into another."""
    return 1 - (vectors * targets).sum(1).mean()
