"""Audio to train on: folders, LibriSpeech, Common Voice as lists of clips, and an endless stream of crops of them."""

import csv
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg"})


@dataclass(frozen=True)
class Clip:
    path: Path
    text: str | None = None
    speaker: str | None = None


def audio_folder(root: Path) -> list[Clip]:
    """Every wav, flac, mp3 and ogg file below `root`, in a stable order. Raises FileNotFoundError if there is none."""
    clips = [Clip(path) for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not clips:
        raise FileNotFoundError(f"no audio below {root} (looked for {', '.join(sorted(SUFFIXES))})")
    return clips


def librispeech(root: Path) -> list[Clip]:
    """A LibriSpeech subset: <speaker>/<chapter>/<utterance>.flac with the chapter's transcripts in *.trans.txt."""
    clips = []
    for transcript in sorted(root.rglob("*.trans.txt")):
        speaker = transcript.parent.parent.name
        for line in transcript.read_text(encoding="utf-8").splitlines():
            utterance, _, text = line.partition(" ")
            clips.append(Clip(transcript.parent / f"{utterance}.flac", text, speaker))
    if not clips:
        raise FileNotFoundError(f"no LibriSpeech transcripts (*.trans.txt) below {root}")
    return clips


def common_voice(root: Path, split: str = "train") -> list[Clip]:
    """A Common Voice language folder: <split>.tsv beside clips/*.mp3."""
    with (root / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Clip(root / "clips" / row["path"], row["sentence"], row["client_id"]) for row in rows]


def find_clips(root: Path) -> list[Clip]:
    """Clips below `root` in whichever of the three layouts it has."""
    if (root / "train.tsv").exists() and (root / "clips").is_dir():
        return common_voice(root)
    if next(root.rglob("*.trans.txt"), None) is not None:
        return librispeech(root)
    return audio_folder(root)


def read_crop(path: Path, num_samples: int, sample_rate: int, position: float) -> NDArray[np.float32]:
    """At most `num_samples` of a file as mono float32 at `sample_rate`; `position` in [0, 1) says where to cut."""
    with soundfile.SoundFile(path) as file:
        frames = round(num_samples * file.samplerate / sample_rate)
        start = int(max(0, file.frames - frames) * position)
        file.seek(start)
        samples = file.read(frames, dtype="float32", always_2d=True).mean(axis=1)
        mono: NDArray[np.float32] = soxr.resample(samples, file.samplerate, sample_rate)
    return mono[:num_samples]


class Crops(IterableDataset[Tensor]):
    """Endless crops [num_samples] float32: shuffled files, at most one crop from each, joined end to end and cut.

    Short clips share a crop, so none is padding; a long file adds no more than one crop an epoch. Level is varied by
    up to `gain_db`, never into clipping. Workers and ranks draw different orders from the same seed.
    """

    def __init__(
        self, clips: Sequence[Clip], num_samples: int, sample_rate: int, *, seed: int, gain_db: float = 12.0
    ) -> None:
        self.clips, self.num_samples, self.sample_rate = list(clips), num_samples, sample_rate
        self.seed, self.gain_db = seed, gain_db

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}/{worker.id if worker else 0}")
        waiting = np.zeros(0, np.float32)
        while True:
            for clip in rng.sample(self.clips, len(self.clips)):
                samples = read_crop(clip.path, self.num_samples, self.sample_rate, rng.random())
                waiting = np.concatenate([waiting, self._vary_level(samples, rng)])
                while len(waiting) >= self.num_samples:
                    yield torch.from_numpy(waiting[: self.num_samples].copy())
                    waiting = waiting[self.num_samples :]

    def _vary_level(self, samples: NDArray[np.float32], rng: random.Random) -> NDArray[np.float32]:
        gain = 10 ** (rng.uniform(-self.gain_db, self.gain_db) / 20)
        peak = float(np.abs(samples).max(initial=1e-6))
        return samples * np.float32(min(gain, 1 / peak))
