"""Batches of recordings and texts: recordings of one batch are about as long, so that little of it is padding."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from export.datasets import read_crop
from export.vatt.channel import recorded
from export.vatt.config import AudioConfig
from export.vatt.pairs import Pair
from export.vatt.tokenizer import UNK_ID, pad, tokenize

SORTED_AT_ONCE = 16  # batches
SPEEDS = (0.85, 1.2)  # of playback, so that a voice is not known by its pitch
CHANGED = 0.7  # share of speech that is heard through another room and microphone
NOISE = 0.01  # standard deviation, of the peak
LANGUAGE = "en"  # whose words a recording is taught to be spelt in
BEHIND = ("effect", "music")  # kinds of recordings that are played behind speech
CROWDED, RATIO_DB = 0.4, (0.0, 20.0)  # share of speech with something behind it, and how much louder the speech is
NOTHING = -1  # a bag's place without a text

Batch = dict[str, Tensor]


class Texts:
    """Every text once, by its word pieces, and the texts of each recording as numbers: its bag."""

    def __init__(self, pairs: Sequence[Pair], tokenizer: Tokenizer, max_tokens: int) -> None:
        rows = iter(tokenize(tokenizer, [text for pair in pairs for text in pair.texts], max_tokens))
        numbers: dict[tuple[int, ...], int] = {}
        self.bags: list[list[int]] = []
        self.said: list[tuple[int, ...]] = []  # the word pieces that are spoken in each, without marks; () if unknown
        for pair in pairs:
            said = [tuple(next(rows)) for _ in pair.texts]
            known = dict.fromkeys(row for row in said if {*row[1:-1]} - {UNK_ID})
            spoken = pair.kind == "speech" and pair.lang == LANGUAGE
            self.said.append(said[0][1:-1] if spoken and said[0] in known else ())
            self.bags.append([numbers.setdefault(row, len(numbers)) for row in known])
        self.rows = list(numbers)


class Item(NamedTuple):
    """One recording, the numbers of its texts, and what is spoken in it."""

    pair: Pair
    bag: list[int]
    said: tuple[int, ...]


class AudioTextBatches(IterableDataset[Batch]):
    """Endless batches: waveform [B, L], valid_samples [B]; other and other_valid, the same recordings played otherwise;
    bag [B, K], numbers of all that is true of each; said [B, J], word pieces that are spoken, PAD_ID behind them and
    where they are not known or the recording is longer than a window; text [B * texts], numbers, of those drawn, with
    their input_ids and attention_mask. Workers and ranks draw different orders from the same seed.
    """

    def __init__(
        self, pairs: Sequence[Pair], texts: Texts, audio: AudioConfig, *, size: int, drawn: int, views: int, seed: str
    ) -> None:
        whole = SPEEDS[0] * audio.window_samples / audio.sample_rate
        self.items = [
            Item(pair, bag, said if pair.seconds <= whole else ())
            for pair, bag, said in zip(pairs, texts.bags, texts.said, strict=True)
            if bag
        ]
        if len(self.items) < size:
            raise ValueError(f"{len(self.items)} recordings with a text are no batch of {size}")
        self.behind = [pair for pair in pairs if pair.kind in BEHIND]
        self.max_bag = max(len(item.bag) for item in self.items)
        self.texts, self.audio, self.size = texts, audio, size
        self.drawn, self.views, self.seed = drawn, views, seed

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        while True:
            order = rng.sample(self.items, len(self.items))
            for start in range(0, len(order), SORTED_AT_ONCE * self.size):
                alike = sorted(order[start : start + SORTED_AT_ONCE * self.size], key=lambda item: item.pair.seconds)
                groups = [alike[at : at + self.size] for at in range(0, len(alike) - self.size + 1, self.size)]
                for group in rng.sample(groups, len(groups)):
                    yield self._batch(group, rng)

    def _batch(self, group: Sequence[Item], rng: random.Random) -> Batch:
        batch: Batch = {}
        for view in ("", "other_")[: self.views]:
            waveform, valid = stack([self._play(item.pair, rng) for item in group], self.audio.step_samples)
            batch |= {f"{view}waveform": waveform, f"{view}valid_samples": valid}
        drawn = [number for item in group for number in _draw(item.bag, self.drawn, rng)]
        ids, mask = pad([self.texts.rows[number] for number in drawn])
        bag = torch.full((len(group), self.max_bag), NOTHING)
        for row, item in zip(bag, group, strict=True):
            row[: len(item.bag)] = torch.tensor(item.bag)
        said, _ = pad([item.said for item in group])
        return batch | {"bag": bag, "said": said, "text": torch.tensor(drawn), "input_ids": ids, "attention_mask": mask}

    def _play(self, pair: Pair, rng: random.Random) -> NDArray[np.float32]:
        """A window of the recording at another speed and with noise in it; speech also elsewhere, with sound behind."""
        rate = round(self.audio.sample_rate * rng.uniform(*SPEEDS))
        samples = read_crop(pair.path, self.audio.window_samples, rate, rng.random())
        if pair.kind == "speech" and rng.random() < CHANGED:
            samples = recorded(samples, rate, rng)
        if pair.kind == "speech" and self.behind and rng.random() < CROWDED:
            other = read_crop(rng.choice(self.behind).path, len(samples), rate, rng.random())
            level = np.sqrt(
                np.square(samples).sum() / max(1, len(samples)) / max(1e-9, np.square(other).sum() / max(1, len(other)))
            )
            samples[: len(other)] += np.float32(level * 10 ** (-rng.uniform(*RATIO_DB) / 20)) * other
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(samples), np.float32)
        return samples + np.float32(NOISE * np.abs(samples).max(initial=0)) * noise


def _draw(bag: Sequence[int], count: int, rng: random.Random) -> list[int]:
    """So many of a bag, each once where there are enough."""
    return (rng.sample(bag, len(bag)) * count)[:count]


def stack(waveforms: Sequence[NDArray[np.float32]], multiple: int) -> tuple[Tensor, Tensor]:
    """Waveforms -> [B, L] of the longest, zeros behind the others, and their lengths [B]; L is such a multiple."""
    lengths = [max(1, len(waveform)) for waveform in waveforms]
    stacked = torch.zeros(len(waveforms), -(-max(lengths) // multiple) * multiple)
    for row, waveform in zip(stacked, waveforms, strict=True):
        row[: len(waveform)] = torch.from_numpy(waveform)
    return stacked, torch.tensor(lengths)
