"""What an embedding is measured against: statistics of a mel spectrogram, and keywords in a recogniser's transcript."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from export.datasets import read_crop
from export.mel import LogMel, MelConfig
from export.metrics import words
from export.vatt.pairs import Pair

MAX_SECONDS = 30
K1, B = 1.2, 0.75

Array = NDArray[np.floating]


def mel_statistics(pairs: Sequence[Pair]) -> Array:
    """[N, 256]: mean and standard deviation over time of each band of the log-mel spectrogram, in dB."""
    config = MelConfig()
    front_end = LogMel(config)
    rows = []
    for pair in pairs:
        waveform = read_crop(pair.path, MAX_SECONDS * config.sample_rate, config.sample_rate, 0.0)
        mel = front_end(torch.from_numpy(waveform))
        rows.append(torch.cat([mel.mean(0), mel.std(0, correction=0)]).numpy())
    return np.array(rows, np.float64)


def nearness(queries: Array, items: Array) -> Array:
    """[queries, items]: the negative distance, every feature over its deviation among the items."""
    scale = items.std(0) + 1e-6
    a, b = queries / scale, items / scale
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return -np.sqrt(squares.clip(min=0))


def keyword_scores(queries: Sequence[str], documents: Sequence[str]) -> Array:
    """[queries, documents] by BM25 (Robertson and Zaragoza, 2009)."""
    bags = [Counter(words(document)) for document in documents]
    lengths = np.array([sum(bag.values()) for bag in bags], np.float64)
    norm = K1 * (1 - B + B * lengths / max(lengths.mean(), 1e-9))
    frequency = Counter(word for bag in bags for word in bag)
    scores = np.zeros((len(queries), len(bags)))
    for row, query in zip(scores, queries, strict=True):
        for word in {*words(query)} & frequency.keys():
            counts = np.array([bag[word] for bag in bags], np.float64)
            rarity = math.log(1 + (len(bags) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            row += rarity * counts * (K1 + 1) / (counts + norm)
    return scores
