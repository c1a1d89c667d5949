"""The recordings that quality is measured on: a fixed part of the corpus's test split."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import soundfile

from export.metrics import SAMPLE_RATE, Waveform, words

MIN_SECONDS, MAX_SECONDS = 1.0, 8.0
"""STOI and PESQ need a second of speech."""
MIN_BANDWIDTH_HZ = 6_000
MIN_WORDS = 5


Line = dict[str, Any]
"""A line of the corpus's metadata.jsonl."""


@dataclass(frozen=True)
class Clip:
    path: Path
    package: str
    text: str | None

    def read(self) -> Waveform:
        """Samples [n] at 16 kHz."""
        samples, rate = soundfile.read(self.path, dtype="float32")
        if rate != SAMPLE_RATE:
            raise ValueError(f"{self.path} is at {rate} Hz, the corpus is at {SAMPLE_RATE} Hz")
        waveform: Waveform = samples
        return waveform


def speech_clips(corpus: Path, count: int) -> list[Clip]:
    """Wideband test speech, as even as possible over the packages."""
    lines = [line for line in test_speech(corpus) if line["bandwidth_hz"] >= MIN_BANDWIDTH_HZ]
    return spread(lines, corpus, count)


def transcript_clips(corpus: Path, count: int) -> list[Clip]:
    """English test speech with what is said, for a recogniser."""
    lines = [
        line
        for line in test_speech(corpus)
        if line["lang"] == "en" and line["text_kind"] == "transcript" and len(words(line["text"])) >= MIN_WORDS
    ]
    return spread(lines, corpus, count)


def test_speech(corpus: Path) -> list[Line]:
    """Lines of the corpus's metadata. Raises FileNotFoundError when the folder is no corpus."""
    with (corpus / "metadata.jsonl").open(encoding="utf-8") as metadata:
        lines = [json.loads(line) for line in metadata]
    return [
        line
        for line in lines
        if line["split"] == "test" and line["kind"] == "speech" and MIN_SECONDS <= line["seconds"] <= MAX_SECONDS
    ]


def spread(lines: Iterable[Line], corpus: Path, count: int) -> list[Clip]:
    """The first ``count`` by a digest of their names, one of each package in turn: the same on every machine."""
    packages: defaultdict[str, list[Clip]] = defaultdict(list)
    for line in sorted(lines, key=lambda one: hashlib.sha256(one["path"].encode()).digest()):
        packages[line["package"]].append(Clip(corpus / line["path"], line["package"], line["text"]))
    turns = chain.from_iterable(zip_longest(*(packages[name] for name in sorted(packages))))
    return [clip for clip in turns if clip is not None][:count]
