"""Maps as pictures: colours with a scale bar for people, and plain textures for engines."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Ten stops of viridis (van der Walt and Smith, 2015): as bright as they are large, also for the colour-blind.
_STOPS = (
    *((68, 1, 84), (72, 40, 120), (62, 73, 137), (49, 104, 142), (38, 130, 142)),
    *((31, 158, 137), (53, 183, 121), (110, 206, 88), (181, 222, 43), (253, 231, 37)),
)
_LEVELS = 255
_AT = np.linspace(0, len(_STOPS) - 1, _LEVELS + 1)
_RAMP = np.stack([np.interp(_AT, range(len(_STOPS)), channel) for channel in np.transpose(_STOPS)], axis=-1)
_TABLE = np.concatenate([_RAMP, np.zeros((1, 3))]).astype(np.uint8)  # the last is black

_MIN_WIDTH = 320  # pixels: the words under a map need as many
_BAR_HEIGHT, _MARGIN, _FONT_SIZE = 12, 8, 13
_COMPRESSION = 1  # PNG's levels beyond cost many times the time for a tenth of the bytes


@dataclass(frozen=True)
class Scale:
    """Which values the colours stand for; with `logarithmic`, each step multiplies."""

    low: float
    high: float
    logarithmic: bool = False

    def position(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """0 at `low`, 1 at `high`."""
        low, high = self.low, self.high
        if self.logarithmic:
            low, high, values = np.log(low), np.log(high), np.log(np.maximum(values, 1e-30))
        position: NDArray[np.float32] = np.clip((values - low) / (high - low), 0, 1)
        return position

    def ticks(self) -> Mapping[float, str]:
        """Position -> label."""
        steps = np.linspace(0, 1, 5)
        if self.logarithmic:
            values = self.low * (self.high / self.low) ** steps
        else:
            values = self.low + (self.high - self.low) * steps
        return {float(step): f"{float(f'{value:.3g}'):g}" for step, value in zip(steps, values, strict=True)}


def colour_map(values: NDArray[np.floating], scale: Scale, title: str) -> bytes:
    """values [H, W] -> a PNG: each pixel one, or a square of them where the map is small; below it what they mean."""
    factor = -(-_MIN_WIDTH // values.shape[1])
    colours = _colours(scale.position(values)).repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = colours.shape[:2]
    canvas = Image.new("RGB", (width, height + _BAR_HEIGHT + 2 * (_FONT_SIZE + _MARGIN) + _MARGIN), (255, 255, 255))
    canvas.paste(Image.fromarray(colours), (0, 0))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(_FONT_SIZE)
    top = height + _MARGIN // 2
    draw.text((width / 2, top), title, (0, 0, 0), font, anchor="mt")
    top += _FONT_SIZE + _MARGIN
    length = width - 6 * _MARGIN
    bar = _colours(np.linspace(0, 1, length, dtype=np.float32))[None].repeat(_BAR_HEIGHT, axis=0)
    canvas.paste(Image.fromarray(bar), (3 * _MARGIN, top))
    for position, label in scale.ticks().items():
        x = 3 * _MARGIN + position * (length - 1)
        draw.line((x, top, x, top + _BAR_HEIGHT + 2), (0, 0, 0))
        draw.text((x, top + _BAR_HEIGHT + 4), label, (0, 0, 0), font, anchor="mt")
    return png(np.asarray(canvas))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """pixels [H, W, 3] or [H, W] -> a PNG without colour space, gamma or alpha, which readers would apply."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def _colours(position: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[...] in [0, 1] -> [..., 3]; black where there is no number."""
    known = np.isfinite(position)
    step = np.rint(_LEVELS * np.where(known, position, 0)).astype(np.intp)
    return _TABLE[np.where(known, step, _LEVELS + 1)]
