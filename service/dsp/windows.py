"""A signal of unknown length to windows of one length, as soon as their samples are there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Window:
    """samples [length]: the signal from sample `start` on; behind the first `valid_samples` are zeros."""

    samples: NDArray[np.float32]
    start: int
    valid_samples: int


class WindowGrid:
    """Windows start at multiples of `hop`, and the last one ends with the signal, so none but that of a signal shorter
    than a window has zeros. Memory: a window and a hop.

    A signal of n samples has 1 + ceil((n - length) / hop) windows, and one if it is no longer than that.
    """

    def __init__(self, length: int, hop: int) -> None:
        self.num_samples = 0
        self._length, self._hop = length, hop
        self._buffer = np.zeros(length + hop, np.float32)
        self._first = 0  # where the buffer begins: at the last window that was cut
        self._next = 0  # where the next window begins

    def push(self, samples: NDArray[np.float32]) -> Iterator[Window]:
        """samples [n] -> the windows that became complete."""
        while len(samples):
            end = self._next + self._length
            taken = samples[: end - self.num_samples]
            position = self.num_samples - self._first
            self._buffer[position : position + len(taken)] = taken
            self.num_samples += len(taken)
            samples = samples[len(taken) :]
            if self.num_samples == end:
                window = self._cut(self._next)
                self._buffer[: self._length] = window.samples
                self._first, self._next = self._next, self._next + self._hop
                yield window

    def finish(self) -> Iterator[Window]:
        """The window that ends with the signal, where no other does."""
        if 0 < self.num_samples < self._length:
            yield Window(
                np.pad(self._buffer[: self.num_samples], (0, self._length - self.num_samples)), 0, self.num_samples
            )
        elif self.num_samples > self._first + self._length:
            yield self._cut(self.num_samples - self._length)

    def _cut(self, start: int) -> Window:
        position = start - self._first
        return Window(self._buffer[position : position + self._length].copy(), start, self._length)
