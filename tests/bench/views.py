"""The photographs that benchmarks send: a furnished room of plain colours, seen from several places."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests import rooms

WIDTH, HEIGHT = 1600, 1200
_ROOM = rooms.BoxRoom(
    (5.2, 4.1, 2.6),
    (rooms.PLASTER, rooms.BRICK, rooms.PLASTER, rooms.CURTAIN, rooms.WOOD, rooms.PLASTER),
    (
        rooms.Box((1.2, 1.0, 0.4), (1.4, 0.7, 0.8), rooms.WOOD, 0.2),
        rooms.Box((3.9, 2.9, 0.3), (1, 1.6, 0.6), rooms.CARPET),
    ),
    (1.5, 1.2, 3.6, 2.9, rooms.CARPET),
)
_RENDERED = 4  # each pixel of the rendering is so many of the photograph, in both directions
_GRAIN = 6.0


def photographs(count: int) -> list[bytes]:
    """JPEG files of the size that a phone sends on, with grain, as none compresses to nothing."""
    chance = np.random.default_rng(0)
    maps = rooms.maps(_ROOM, rooms.cameras(_ROOM, count, chance), HEIGHT // _RENDERED, WIDTH // _RENDERED)
    bands = maps["absorption"][..., [0, 3, 6]]
    shade = np.exp(-maps["depth_map"] / 8)
    colours = 255 * np.clip(shade * (0.95 - 0.8 * bands), 0, 1)
    return [_jpeg(colour.repeat(_RENDERED, axis=0).repeat(_RENDERED, axis=1), chance) for colour in colours]


def _jpeg(pixels: NDArray[np.float32], chance: np.random.Generator) -> bytes:
    noisy = np.clip(pixels + chance.normal(0, _GRAIN, pixels.shape), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "JPEG", quality=90)
    return file.getvalue()
