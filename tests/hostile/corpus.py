"""The corpus: real requests of every route that reads a body, and their mutants."""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import httpx
import numpy as np

from service.models.tokenizer.container import MEDIA_TYPE, pack
from service.models.tokenizer.forms import fields, to_tensors
from service.models.tokenizer.layout import TokenLayout
from service.models.tokenizer.tokens import Tokens
from service.tensors import to_npz, to_safetensors
from tests import pictures, sounds, tiny
from tests.hostile.mutate import damaged, damaged_json

JSON = "application/json"
MUTANTS = {"audio": 14, "image": 24, "tokens": 16, "tensors": 16, "json": 14, "form": 24}  # of each real request

_FRONTIER = {"Content-Type": "multipart/form-data; boundary=frontier"}


@dataclass(frozen=True)
class Request:
    """One request, before it is wrapped up."""

    name: str
    kind: str
    path: str
    body: bytes = field(repr=False)
    content_type: str = "application/octet-stream"
    method: str = "POST"

    def sent(self) -> httpx.Request:
        """A picture goes as a part of a form."""
        if self.kind == "image":
            files = {"images": ("a", self.body)}
            return httpx.Request(self.method, f"http://test{self.path}", files=files, headers=_FRONTIER)
        headers = {"Content-Type": self.content_type}
        return httpx.Request(self.method, f"http://test{self.path}", content=self.body, headers=headers)


def corpus(mutants: dict[str, int] = MUTANTS) -> Iterator[Request]:
    """Every mutant of every real request, always the same ones."""
    good = {request.body for request in real()}
    for request in real():
        others = [other.body for other in real() if other.kind == request.kind]
        for number in range(mutants[request.kind]):
            rng = random.Random(f"{request.name} {number}")
            body = damaged_json(request.body, rng) if request.kind == "json" else damaged(request.body, others, rng)
            while body in good:
                body = body[:-1]
            yield replace(request, name=f"{request.name} {number}", body=body)


@cache
def real() -> tuple[Request, ...]:
    """Good requests, small ones."""
    return (*_audio(), *_images(), *_forms(), *_tokens(), *_tensors(), *_json())


def _audio() -> Iterator[Request]:
    clip = sounds.clip()[:8_000]
    for name in sounds.FORMATS:
        yield Request(f"tokenize {name}", "audio", "/v1/tokenize", sounds.encoded(clip, name))
    for name in ("ogg-opus", "mp3"):
        ears = sounds.encoded(np.stack([clip, clip[::-1]]), name, layout="stereo")
        yield Request(f"spatial-cues {name}", "audio", "/v1/spatial-cues", ears)
    yield Request("embed m4a", "audio", "/v1/audio/embeddings", sounds.encoded(clip, "m4a"))
    yield Request("pcm", "audio", "/v1/tokenize", clip.tobytes(), "audio/pcm;rate=16000;encoding=f32le")


def _images() -> Iterator[Request]:
    room = pictures.halves(40, 200, 64, 48)
    for name, options in (
        *(("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True, "quality": 30}), ("WEBP", {})),
        *(("WEBP", {"lossless": True}), ("PNG", {"optimize": True})),
    ):
        yield Request(f"map {name} {options}", "image", "/v1/acoustic-maps", pictures.encoded(room, name, **options))
    palette = pictures.encoded(room.convert("P"), "PNG", transparency=0)
    yield Request("map palette", "image", "/v1/acoustic-maps", palette)


def _forms() -> Iterator[Request]:
    picture, sound = pictures.encoded(pictures.grey(90, 64, 48)), sounds.encoded(sounds.clip()[:8_000], "wav")
    parts = {"images": ("a.png", picture, "image/png"), "audio": ("a.wav", sound, "audio/wav")}
    form = httpx.Request("POST", "http://test", files=parts, data={"scale": "2"}, headers=_FRONTIER)
    yield Request("map form", "form", "/v1/acoustic-maps", form.read(), form.headers["content-type"])


def _tokens() -> Iterator[Request]:
    layout = TokenLayout(sample_rate=16_000, hop_length=160, window_frames=1024, time_patch=8, bands=4, bits=18)
    codes = np.random.default_rng(0).integers(0, 1 << 18, (2, layout.num_tokens(4_000)))
    tokens = Tokens(layout, "tokenizer", tiny.DIGEST, 4_000, codes)
    path = "/v1/detokenize"
    yield Request("tokens container", "tokens", path, pack(tokens), MEDIA_TYPE)
    yield Request("tokens npz", "tensors", path, to_npz(to_tensors(fields(tokens))), "application/x-npz")
    yield Request("tokens safetensors", "tensors", path, to_safetensors(to_tensors(fields(tokens))))


def _tensors() -> Iterator[Request]:
    maps = {"absorption": np.full((1, 4, 4, 8), 0.3, np.float32), "area": np.ones((1, 4, 4), np.float32)}
    path = "/v1/reverberation?volume_m3=90&surface_m2=126"
    yield Request("maps npz", "tensors", path, to_npz(maps), "application/x-npz")
    yield Request("maps safetensors", "tensors", path, to_safetensors(maps))


def _json() -> Iterator[Request]:
    box = {"dimensions_m": [6, 5, 3], "surfaces": [{"absorption": 0.1}], "methods": ["sabine", "eyring"], "air": None}
    clip = base64.b64encode(sounds.encoded(sounds.clip()[:3_200], "wav")).decode()
    sound = {"type": "input_audio", "input_audio": {"data": clip, "format": "wav"}}
    space = {"dims": 4, "space_id": "hostile", "distance": "cosine"}
    windows = [{"vector": [1, 2, 3, 4], "start_s": 0, "end_s": 1.5}]
    item = {"id": "a", "windows": windows, "metadata": {"lang": "en", "year": 2024}}
    query = {"vector": [4, 3, 2, 1], "space_id": "hostile"}
    condition = {"year": {"$gte": 2020}, "$or": [{"lang": "en"}, {"lang": {"$in": ["de", "fr"]}}]}
    collection = "/v1/collections/hostile"
    bodies: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("POST", "/v1/detokenize", "ids", {"tokens": [[1, 2, 3, 4]], "codebooks": 1, "num_samples": 1280}),
        ("POST", "/v1/reverberation", "room", box),
        ("POST", "/v1/embeddings", "texts", {"model": "embeddings", "input": ["a dog", sound], "window": True}),
        ("PUT", collection, "collection", space),
        ("POST", f"{collection}/items", "items", {"items": [item], "space_id": "hostile"}),
        ("POST", f"{collection}/search", "search", query | {"k": 3}),
        (
            "POST",
            f"{collection}/search",
            "filter",
            query | {"filter": condition},
        ),
        ("POST", f"{collection}/delete", "delete", {"filter": condition}),
    )
    for method, path, name, body in bodies:
        yield Request(f"json {name}", "json", path, json.dumps(body).encode(), JSON, method)
