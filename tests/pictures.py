"""Pictures for tests: of known pixels, in any format."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def grey(level: int = 128, width: int = 320, height: int = 240) -> Image.Image:
    """One grey everywhere."""
    return Image.new("RGB", (width, height), (level, level, level))


def halves(left: int, right: int, width: int = 320, height: int = 240) -> Image.Image:
    """Two greys side by side."""
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2 :] = right
    return Image.fromarray(pixels)


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def form(pictures: Sequence[bytes], audio: bytes | None = None) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The files of a request, as httpx takes them."""
    files = [("images", (f"{index}.png", data, "image/png")) for index, data in enumerate(pictures)]
    return files + ([("audio", ("sound.wav", audio, "audio/wav"))] if audio else [])
