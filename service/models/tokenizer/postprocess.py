"""Encoder outputs to tokens, tokens to decoder inputs, decoded mel to vocoder inputs, and the sound cut to length."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.models.tokenizer.layout import TokenLayout, bucket
from service.models.tokenizer.tokens import Tokens
from service.tensors import Tensors


def window_tokens(output: NDArray[Any], num_frames: int, layout: TokenLayout) -> NDArray[np.int64]:
    """The encoder's tokens [C, N] of a padded window -> those of its num_frames frames."""
    return output[:, : layout.tokens_of(num_frames)]


@dataclass(frozen=True)
class TokenWindow:
    """tokens int64 [C, N] of one window of every channel, zeros behind those of its num_frames frames."""

    tokens: NDArray[np.int64]
    num_frames: int

    def inputs(self) -> Tensors:
        """For tokenizer_decoder; the channels are rows of the batch."""
        return {"tokens": self.tokens, "num_frames": np.full((len(self.tokens), 1), self.num_frames, np.int32)}

    def mel(self, output: NDArray[Any]) -> NDArray[np.float32]:
        """The decoder's mel [C, T, n_mels] -> its first num_frames frames."""
        return output[:, : self.num_frames]


def token_windows(tokens: Tokens) -> Iterator[TokenWindow]:
    """The windows in which the tokens were made, in order, padded to the sizes that batch together."""
    layout, first = tokens.layout, 0
    for num_frames in layout.windows(tokens.num_samples):
        count = layout.tokens_of(num_frames)
        padded = np.zeros((len(tokens.tokens), max(count, layout.tokens_of(bucket(num_frames)))), np.int64)
        padded[:, :count] = tokens.tokens[:, first : first + count]
        first += count
        yield TokenWindow(padded, num_frames)


@dataclass(frozen=True)
class MelChunk:
    """mel [C, T, n_mels]; of the T * hop_length samples that it becomes, those in `samples` are kept."""

    mel: NDArray[np.float32]
    samples: slice

    def inputs(self) -> Tensors:
        """For the vocoder; the channels are rows of the batch."""
        return {"mel": self.mel}

    def waveform(self, output: NDArray[Any]) -> NDArray[np.float32]:
        """The vocoder's waveform [C, T * hop_length] -> its part of the signal."""
        return output[:, self.samples]


class MelChunks:
    """Mel in order, in pieces of any size, to chunks for a vocoder that looks `context_frames` to either side.

    Each frame is kept from one chunk in which it has its context, so the sound is that of the whole mel at once and
    has no seams. A signal of several chunks has them all of one size (the last reaches back further), so they batch.
    The mel is followed by silence up to a multiple of the bucket; num_samples samples are kept in all.
    """

    def __init__(
        self, num_samples: int, hop_length: int, *, db_min: float, context_frames: int, chunk_frames: int
    ) -> None:
        if chunk_frames <= 2 * context_frames:
            raise ValueError(
                f"chunks of {chunk_frames} frames have no room for {context_frames} of context on each side"
            )
        self._num_frames = -(-num_samples // hop_length)
        self._num_samples, self._hop_length, self._db_min = num_samples, hop_length, db_min
        total = bucket(self._num_frames)
        self._chunk_frames = min(chunk_frames, total)
        starts = list(range(0, total - self._chunk_frames, chunk_frames - 2 * context_frames))
        starts.append(total - self._chunk_frames)
        cuts = [start + context_frames for start in starts[1:]]
        self._plan = deque(zip(starts, [0, *cuts], [*cuts, total], strict=True))
        self._pending: list[NDArray[np.float32]] = []
        self._first, self._next = 0, 0  # frames: where the pending mel begins, and where it ends

    def push(self, mel: NDArray[np.float32]) -> list[MelChunk]:
        """mel [C, t, n_mels] -> the chunks whose context is complete; the last ones with the last frame.

        Raises ValueError for more frames than num_samples has.
        """
        self._add(mel)
        if self._next > self._num_frames:
            raise ValueError(f"{self._next} frames of mel for {self._num_samples} samples")
        if self._next == self._num_frames:
            self._add(np.full((mel.shape[0], bucket(self._next) - self._next, mel.shape[2]), self._db_min, np.float32))
        chunks = []
        while self._plan and self._plan[0][0] + self._chunk_frames <= self._next:
            start, *kept = self._plan.popleft()
            pending = np.concatenate(self._pending, axis=1)[:, start - self._first :]
            self._pending, self._first = [pending], start
            samples = [min(frame * self._hop_length, self._num_samples) - start * self._hop_length for frame in kept]
            chunks.append(MelChunk(np.ascontiguousarray(pending[:, : self._chunk_frames]), slice(*samples)))
        return chunks

    def _add(self, mel: NDArray[np.float32]) -> None:
        self._pending.append(mel)
        self._next += mel.shape[1]
