"""What is asked: made up here, the same in every run, and as varied as what people send."""

import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cache

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.cli.bench.client import Request
from service.media.encode import AudioWriter, media_type

SAMPLE_RATE = 16_000
CLIPS_S = (1, 2, 3, 5, 8, 12, 20, 30)
VIEWS = (1, 2, 4)
_TEXTS = (1, 4, 16)
_PICTURE = (960, 720)
_WORDS = ("a", "dog", "barks", "while", "rain", "falls", "on", "the", "roof", "and", "someone", "sings", "far", "away")


@cache
def tokenize() -> list[Request]:
    """FLAC clips of 1 to 30 s."""
    return [
        Request("tokenize", "/v1/tokenize", _flac(_sound()[: s * SAMPLE_RATE]), media_type("flac")) for s in CLIPS_S
    ]


@cache
def maps() -> list[Request]:
    """Rooms of 1 to 4 pictures."""
    return [_form([_jpeg(number) for number in range(count)]) for count in VIEWS]


@cache
def text() -> list[Request]:
    """1 to 16 sentences."""
    pick = random.Random(0)
    sentences = [[" ".join(pick.choices(_WORDS, k=12)) for _ in range(count)] for count in _TEXTS]
    bodies = [json.dumps({"model": "embeddings", "input": batch}).encode() for batch in sentences]
    return [Request("text", "/v1/embeddings", body, "application/json") for body in bodies]


@cache
def audio() -> list[Request]:
    """FLAC clips of 1 to 30 s, to be embedded."""
    return [
        Request("audio", "/v1/audio/embeddings", _flac(_sound()[: s * SAMPLE_RATE]), media_type("flac"))
        for s in CLIPS_S
    ]


WORKLOADS: Mapping[str, Callable[[], list[Request]]] = {
    builder.__name__: builder for builder in (tokenize, maps, text, audio)
}


def parse(mix: str) -> dict[str, float]:
    """`tokenize=4,text=8` -> weights. Raises ValueError, in words."""
    weights = {}
    for part in mix.split(","):
        name, _, weight = part.partition("=")
        if name not in WORKLOADS:
            raise ValueError(f"{name!r} is no workload; there are {', '.join(WORKLOADS)}")
        weights[name] = float(weight or 1)
        if not 0 < weights[name] < float("inf"):
            raise ValueError(f"the weight of {name} is {weight}, which is no positive number")
    return weights


def mixed(weights: Mapping[str, float]) -> Iterator[Request]:
    """Without end, in an order that is random and always the same."""
    built = {name: WORKLOADS[name]() for name in weights}
    pick = random.Random(0)
    while True:
        (name,) = pick.choices(list(weights), list(weights.values()))
        yield pick.choice(built[name])


@cache
def _sound() -> NDArray[np.float32]:
    """Syllables of a buzzing voice, with breath: it compresses as speech does, and no model finds it silent. [T]"""
    time = np.arange(max(CLIPS_S) * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / SAMPLE_RATE
    voice = sum(np.sin(number * pitch) / number for number in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
    return (0.2 * syllables * voice + 0.01 * noise).astype(np.float32)


def _flac(samples: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    writer = AudioWriter(file, "flac", SAMPLE_RATE, 1)
    writer.write(samples[None])
    writer.close()
    return file.getvalue()


def _jpeg(number: int) -> bytes:
    """A wall with a pattern in the light of a window, seen from another place for each `number`."""
    across, down = np.meshgrid(np.arange(_PICTURE[0]) + 40 * number, np.arange(_PICTURE[1]))
    tiles = ((across // 60 + down // 60) % 2) * 40.0
    light = 120 * np.exp(-((across - 500) ** 2 + (down - 300) ** 2) / 2e5)
    grain = np.random.default_rng(number).normal(0, 4, across.shape)
    grey = np.clip(60 + tiles + light + grain, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.stack([grey, grey, grey // 2], axis=-1)).save(file, "JPEG", quality=85)
    return file.getvalue()


def _form(pictures: list[bytes]) -> Request:
    files = [("images", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(pictures)]
    form = httpx.Request("POST", "http://localhost", files=files)
    return Request("maps", "/v1/acoustic-maps", form.read(), form.headers["content-type"])
