"""Vectors as OpenAI's clients read them."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from service.models.embeddings.batch import Embedded
from service.models.embeddings.embedder import AudioWindow, TextWindow
from service.models.embeddings.model import NAME, EmbeddingModel

JSON = "application/json"


def encode(embedded: Sequence[Embedded], model: EmbeddingModel, encoding_format: str, window: bool) -> bytes:
    """The answer to a request for these items, with their windows if `window`."""
    texts = [part for item in embedded for part in item.windows if isinstance(part, TextWindow)]
    num_tokens = sum(part.num_tokens for part in texts)
    answer = {
        "object": "list",
        "data": [_data(index, item, encoding_format, window) for index, item in enumerate(embedded)],
        "model": NAME,
        "usage": {
            "prompt_tokens": num_tokens,
            "total_tokens": num_tokens,
            "audio_seconds": sum(_duration_s(item) for item in embedded),
            "windows": sum(len(item.windows) for item in embedded),
        },
        "space_id": model.space_id,
    }
    return to_json(answer)


def _data(index: int, item: Embedded, encoding_format: str, window: bool) -> dict[str, Any]:
    data: dict[str, Any] = {"object": "embedding", "index": index, "embedding": _vector(item.pooled, encoding_format)}
    if window:
        data["windows"] = [_place(part) | {"embedding": _vector(part.vector, encoding_format)} for part in item.windows]
    return data


def _place(part: TextWindow | AudioWindow) -> dict[str, float]:
    if isinstance(part, AudioWindow):
        return {"start_s": part.start_s, "end_s": part.end_s}
    return {"char_start": part.char_start, "char_end": part.char_end}


def _duration_s(item: Embedded) -> float:
    last = item.windows[-1]
    return last.end_s if isinstance(last, AudioWindow) else 0.0


def _vector(vector: NDArray[np.float32], encoding_format: str) -> str | list[float]:
    if encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
