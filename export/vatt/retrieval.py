"""How well one thing is found by another: ranks, recall, and what chance would give."""

from dataclasses import dataclass
from math import comb
from typing import Self

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Truth = NDArray[np.bool_]
CUTS = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """Over all queries: the share whose best answer is among the first 1, 5 and 10, and its median rank."""

    recall: tuple[float, ...]
    median_rank: float

    @classmethod
    def of(cls, scores: Scores, truth: Truth) -> Self:
        """scores and truth [queries, items]; queries without a true item do not count."""
        better, level = places(scores, truth)
        # Among items of the same score the true one is found by chance.
        recall = (float(((cut - better) / (level + 1)).clip(0, 1).mean()) for cut in CUTS)
        return cls(tuple(recall), float(np.median(1 + better + level / 2)))

    @classmethod
    def chance(cls, truth: Truth) -> Self:
        """What an order at random gives, in expectation."""
        items = truth.shape[1]
        true = truth.sum(1)[truth.any(1)]
        recall = (np.mean([1 - comb(items - count, cut) / comb(items, cut) for count in true.tolist()]) for cut in CUTS)
        return cls(tuple(map(float, recall)), float(np.median((items + 1) / (true + 1))))


def places(scores: Scores, truth: Truth) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the best true item of each query: how many others are better, and how many of the same score."""
    scores, truth = scores[truth.any(1)], truth[truth.any(1)]
    best = np.where(truth, scores, -np.inf).max(1, keepdims=True)
    return ((scores > best) & ~truth).sum(1), ((scores == best) & ~truth).sum(1)


def agreement(similarity: Scores, classes: NDArray[np.int64]) -> float:
    """The share of items whose nearest other is of the same class, of those that have such another."""
    same = (classes[:, None] == classes[None, :]) & ~np.eye(len(classes), dtype=bool)
    others = np.where(np.eye(len(classes), dtype=bool), -np.inf, similarity)
    asked = same.any(1)
    return float(same[asked, others[asked].argmax(1)].mean()) if asked.any() else float("nan")


def chance_agreement(classes: NDArray[np.int64]) -> float:
    """What a neighbour at random gives."""
    same = (classes[:, None] == classes[None, :]).sum(1) - 1
    return float(same[same > 0].mean() / (len(classes) - 1)) if (same > 0).any() else float("nan")
