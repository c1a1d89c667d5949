"""No steps at the borders of windows: a bridge across each is decoded too, and the mel fades into it and out again.

A window is encoded and decoded without a view of its neighbours, so its mel may step at a border. The decoder depends
little on where in a window a token lies, so it can also decode the tokens around a border together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.models.tokenizer.layout import BUCKET_FRAMES, bucket
from service.models.tokenizer.postprocess import TokenWindow, token_windows
from service.models.tokenizer.tokens import Tokens

BRIDGE_FRAMES = BUCKET_FRAMES  # on each side of a border
FADE_FRAMES = 16  # on each side, within the bridge


@dataclass(frozen=True)
class Bridge(TokenWindow):
    """The last `border` frames of a window and the first of the next."""

    border: int


def with_bridges(tokens: Tokens) -> Iterator[TokenWindow]:
    """The windows of `token_windows`, and between each two of them the bridge."""
    layout = tokens.layout
    windows = token_windows(tokens)
    reach = BRIDGE_FRAMES // layout.time_patch * layout.time_patch
    yield next(windows)
    border = layout.tokens_of(layout.window_frames)
    for before, after in pairwise(layout.windows(tokens.num_samples)):
        left, right = min(reach, before), min(reach, after)
        part = tokens.tokens[:, border - layout.tokens_of(left) : border + layout.tokens_of(right)]
        padded = np.zeros((len(part), max(part.shape[1], layout.tokens_of(bucket(left + right)))), np.int64)
        padded[:, : part.shape[1]] = part
        yield Bridge(padded, left + right, left)
        yield next(windows)
        border += layout.tokens_of(before)


class MelJoin:
    """Decoded windows and bridges, in order, to one mel in pieces; all windows but the last have window_frames."""

    def __init__(self, window_frames: int) -> None:
        self._fade = min(FADE_FRAMES, window_frames // 2)
        self._rising = np.linspace(0, 1, 2 * self._fade + 1, dtype=np.float32)[1::2, None]
        self._tail: NDArray[np.float32] | None = None  # the end of the last window, which the bridge may change
        self._bridge: NDArray[np.float32] | None = None

    def push(self, window: TokenWindow, mel: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """mel [C, T, n_mels] of `window` -> the pieces that are final."""
        if isinstance(window, Bridge):
            self._bridge = mel[:, window.border - self._fade : window.border + self._fade]
            return []
        pieces = []
        if self._tail is not None and self._bridge is not None:
            pieces.append(_mix(self._tail, self._bridge[:, : self._fade], self._rising))
            head = self._bridge[:, self._fade :]
            faded = _mix(mel[:, : head.shape[1]], head, self._rising[::-1][: head.shape[1]])
            mel = np.concatenate([faded, mel[:, head.shape[1] :]], axis=1)
        cut = max(0, mel.shape[1] - self._fade)
        pieces.append(mel[:, :cut])
        self._tail = mel[:, cut:]
        return [piece for piece in pieces if piece.size]

    def finish(self) -> list[NDArray[np.float32]]:
        """The rest, after the last window."""
        return [] if self._tail is None else [self._tail]


def _mix(a: NDArray[np.float32], b: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    return a + (b - a) * weight
