"""English that recordings lack: sentences of free texts, spoken by free synthesizers.

`python -m export.corpus.spoken OUT` writes FLAC files and `pairs.jsonl` for `auricle train embeddings`. Needs flite,
espeak-ng and ttspico (SVOX Pico), those whose voices are asked for, and what their texts come in: Debian packages,
which are downloaded and unpacked, never installed.
"""

import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import soundfile
import soxr
import typer
from rich.progress import track

from export.corpus.command import DEFAULT_OUT
from export.corpus.packages import unpacked

SAMPLE_RATE = 16_000
PICO_RATE = 16_000
WORDS = range(2, 15)  # of a sentence: about what a window of 6.4 s holds
DEV_SHARE = 100  # one sentence of so many is kept from training
EXAMPLE = re.compile(r'"([^"]+)"')
MESSAGE = re.compile(r'message *= *_ *"([^"]+)"')
SENTENCE_END = re.compile(r"(?<=[.!?\u2026]) +")
SPOKEN = re.compile(r"[A-Za-z][A-Za-z ,;:'\u2019\-\u2014.!?\u2026]*")
TEXTS = {  # package: version, its files, what a text in them looks like
    "wordnet-base": ("1:3.0-37", "usr/share/wordnet/data.*", EXAMPLE),
    "fortunes": ("1:1.99.1-7.3", "usr/share/games/fortunes/*.u8", re.compile(r"([^%]+)")),
    "fortunes-min": ("1:1.99.1-7.3", "usr/share/games/fortunes/*.u8", re.compile(r"([^%]+)")),
    **{
        f"wesnoth-1.16-{campaign}": ("1:1.16.9-1", "usr/share/games/wesnoth/**/*.cfg", MESSAGE)
        for campaign in ("did", "dm", "ei", "l", "sof", "thot", "tsg", "ttb")
    },
}


@dataclass(frozen=True)
class Voice:
    """One speaker of one synthesizer; `share` of the sentences, relative to the others."""

    synthesizer: str
    name: str
    share: float

    def speak(self, text: str, path: Path, rng: random.Random) -> None:
        """Write a WAV, at a pace and a pitch of its own where the synthesizer has them."""
        if self.synthesizer == "pico":
            _speak_pico(self.name, text, path, rng)
            return
        if self.synthesizer == "flite":
            pace = f"duration_stretch={rng.uniform(0.8, 1.15):.2f}"
            command = ["flite", "-voice", self.name, "--setf", pace, "-o", str(path), "-t", f" {text}"]
        else:
            pace, pitch = str(rng.randint(140, 200)), str(rng.randint(30, 70))
            command = ["espeak-ng", "-v", self.name, "-s", pace, "-p", pitch, "-w", str(path), "--", text]
        subprocess.run(command, check=True, capture_output=True)


def _speak_pico(name: str, text: str, path: Path, rng: random.Random) -> None:
    from ttspico import TtsEngine  # compiled where it is installed

    engine = TtsEngine(name)
    engine.rate, engine.pitch = rng.randint(85, 120), rng.randint(85, 115)
    soundfile.write(path, np.frombuffer(engine.speak(text), np.int16), PICO_RATE)


VOICES = (
    *(Voice("flite", name, 3) for name in ("awb", "rms", "slt")),
    *(Voice("pico", name, 3) for name in ("en-GB", "en-US")),
    Voice("flite", "kal16", 1.5),
    *(Voice("espeak-ng", f"en-us+{kind}", 0.25) for kind in ("m1", "m3", "m4", "m7", "f1", "f2", "f3", "f5")),
    *(Voice("espeak-ng", f"{place}+{kind}", 0.25) for place in ("en-gb", "en-gb-x-rp") for kind in ("m2", "f4")),
)


def spoken(
    out: Annotated[Path, typer.Argument(help="Folder to write to.")],
    count: Annotated[int, typer.Option(min=1, help="Sentences.")] = 40_000,
    synthesizers: Annotated[str, typer.Option(help="Whose voices.")] = "flite,espeak-ng,pico",
    cache: Annotated[Path, typer.Option(help="Unpacked packages.")] = DEFAULT_OUT / "packages",
) -> None:
    """Speak so many sentences, each once; the same ones by the same voices on every machine."""
    voices = [voice for voice in VOICES if voice.synthesizer in synthesizers.split(",")]
    if not voices:
        raise typer.BadParameter(f"{synthesizers!r} names none of {', '.join(sorted({v.synthesizer for v in VOICES}))}")
    chosen = sentences(cache.expanduser())
    random.Random(0).shuffle(chosen)
    (out / "speech").mkdir(parents=True, exist_ok=True)
    with (out / "pairs.jsonl").open("w", encoding="utf-8") as lines, TemporaryDirectory() as scratch:
        for number, (package, text) in enumerate(track(chosen[:count], "sentences")):
            rng = random.Random(number)
            (voice,) = rng.choices(voices, [voice.share for voice in voices])
            wav, path = Path(scratch) / "spoken.wav", out / "speech" / f"{number:06}.flac"
            voice.speak(text, wav, rng)
            samples, rate = soundfile.read(wav, dtype="float32")
            samples = soxr.resample(samples, rate, SAMPLE_RATE)
            soundfile.write(path, samples, SAMPLE_RATE)
            line = {
                "path": str(path.relative_to(out)),
                "seconds": round(len(samples) / SAMPLE_RATE, 3),
                "split": "dev" if number % DEV_SHARE == 0 else "train",
                "kind": "speech",
                "lang": "en",
                "package": package,
                "speaker": f"{voice.synthesizer} {voice.name}",
                "texts": [text],
            }
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def sentences(cache: Path) -> list[tuple[str, str]]:
    """Package and sentence, each sentence once, in a stable order."""
    known: dict[str, str] = {}
    for package, (version, files, pattern) in TEXTS.items():
        folder = unpacked(package, version, cache)
        for file in sorted(folder.glob(files)):
            for sentence in readable(pattern, file.read_text(encoding="utf-8", errors="replace")):
                known.setdefault(sentence, package)
    return [(package, sentence) for sentence, package in known.items()]


def readable(pattern: re.Pattern[str], content: str) -> Iterator[str]:
    """Sentences of plain words, neither very short nor long."""
    for match in pattern.finditer(content):
        for sentence in SENTENCE_END.split(" ".join(match[1].split())):
            if len(sentence.split()) in WORDS and SPOKEN.fullmatch(sentence):
                yield sentence


if __name__ == "__main__":
    typer.run(spoken)
