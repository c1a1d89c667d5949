"""Video frames and the sound recorded with them: which samples belong to which frame, without drift.

A frame rate is a ratio of integers and every boundary is computed from the beginning, never from the boundary before:
it is off by half a sample at most for as long as the recording lasts. Cutting `int(sample_rate / fps)` samples a frame
instead is late by 22 ms after one minute of 29.97 fps at 48 kHz.

Times count from the first frame of the video. Positions count in samples of the sound; a sound that starts `offset_s`
after the video (before it, if negative) has its sample 0 there.
"""

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

MIN_FRAME_RATE, MAX_FRAME_RATE = Fraction(1, 1000), Fraction(1000)
DEFAULT_FRAME_RATE = Fraction(30)

_NTSC_RATES = tuple(Fraction(nominal * 1000, 1001) for nominal in (24, 30, 48, 60, 120, 240))
_NTSC_TOLERANCE = Fraction(1, 1000)
# Nothing else: Fraction("1e999999999") would compute that number.
_RATIO = re.compile(r"\d{1,9}(\.\d{1,9})?(/\d{1,9})?", re.ASCII)


def frame_rate(value: str | float | Fraction) -> Fraction:
    """Frames per second from "30000/1001", "29.97", 25 or 59.94; the NTSC decimals become the ratios they stand for.

    Raises ValueError for what is no number and outside MIN_FRAME_RATE to MAX_FRAME_RATE.
    """
    if isinstance(value, str):
        if not _RATIO.fullmatch(value.strip()):
            raise ValueError("a frame rate is a number such as 25 or 29.97, or a ratio such as 30000/1001")
        number, _, divisor = value.strip().partition("/")
        if divisor and not int(divisor):
            raise ValueError("a frame rate has no zero below its line")
        rate = Fraction(number) / int(divisor or 1)
    elif math.isfinite(value):
        rate = Fraction(value)
    else:
        raise ValueError("a frame rate is a finite number")
    if not MIN_FRAME_RATE <= rate <= MAX_FRAME_RATE:
        raise ValueError(f"the frame rate is outside {float(MIN_FRAME_RATE):g} to {float(MAX_FRAME_RATE):g} per second")
    return next((ntsc for ntsc in _NTSC_RATES if abs(rate - ntsc) <= _NTSC_TOLERANCE), rate)


def frames_within(duration_s: Fraction, rate: Fraction, offset_s: Fraction = Fraction(0)) -> int:
    """How many frames begin before the end of a sound of that length; 0 if it is over before the video begins."""
    return max(0, math.ceil((duration_s + offset_s) * rate))


@dataclass(frozen=True, eq=False)
class FrameClock:
    """Where in the sound each frame of a video lies."""

    sample_rate: int  # Hz
    times_s: NDArray[np.float64]  # [S] since the first frame
    boundaries: NDArray[np.int64]  # [S + 1]: frame k has the samples [k, k + 1); negative before the sound begins

    @classmethod
    def constant(cls, rate: Fraction, num_frames: int, sample_rate: int, *, offset_s: Fraction = Fraction(0)) -> Self:
        """Frames at a constant rate. Raises ValueError without a frame."""
        if num_frames < 1:
            raise ValueError("a video has at least one frame")
        # floor((k / rate - offset) * sample_rate + 1/2), as one division of integers
        divisor = 2 * rate.numerator * offset_s.denominator
        step = 2 * sample_rate * rate.denominator * offset_s.denominator
        start = rate.numerator * offset_s.denominator - 2 * sample_rate * offset_s.numerator * rate.numerator
        boundaries = [(start + k * step) // divisor for k in range(num_frames + 1)]
        times_s = np.arange(num_frames) * rate.denominator / rate.numerator
        return cls(sample_rate, times_s, np.array(boundaries, np.int64))

    @classmethod
    def at(
        cls,
        timestamps: Sequence[float | Fraction],
        sample_rate: int,
        *,
        offset_s: Fraction = Fraction(0),
        last_duration_s: float | Fraction | None = None,
    ) -> Self:
        """Frames at given times in seconds. The last one lasts as long as it is said to, or the median of the others.

        Raises ValueError without a timestamp, and for times that are not finite or not increasing.
        """
        if not timestamps:
            raise ValueError("a video has at least one frame")
        if not all(map(math.isfinite, timestamps)):
            raise ValueError("timestamps are finite numbers of seconds")
        times = [Fraction(time) for time in timestamps]
        durations = [later - earlier for earlier, later in pairwise(times)]
        late = next((index for index, duration in enumerate(durations, start=1) if duration <= 0), None)
        if late is not None:
            raise ValueError(f"timestamps increase, but number {late} is not after number {late - 1}")
        if last_duration_s is None:
            last_duration_s = sorted(durations)[len(durations) // 2] if durations else 1 / DEFAULT_FRAME_RATE
        elif not (math.isfinite(last_duration_s) and last_duration_s > 0):
            raise ValueError("the last frame lasts a finite time above zero")
        times.append(times[-1] + Fraction(last_duration_s))
        boundaries = [_nearest((time - offset_s) * sample_rate) for time in times]
        return cls(sample_rate, np.array(times[:-1], np.float64), np.array(boundaries, np.int64))

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    @property
    def positions(self) -> NDArray[np.int64]:
        """[S]: the sample at the time of each frame."""
        return self.boundaries[:-1]

    def first(self, num_frames: int) -> "FrameClock":
        """The same without the frames behind these."""
        return FrameClock(self.sample_rate, self.times_s[:num_frames], self.boundaries[: num_frames + 1])

    def valid_samples(self, num_samples: int) -> NDArray[np.int64]:
        """[S]: how many samples of each frame a sound of that length has; fewer at its ends, 0 beyond them."""
        inside = np.clip(self.boundaries, 0, num_samples)
        return inside[1:] - inside[:-1]

    def unused_samples(self, num_samples: int) -> tuple[int, int]:
        """How many samples of the sound come before the first frame, and how many after the last."""
        first, end = np.clip(self.boundaries[[0, -1]], 0, num_samples).tolist()
        return first, num_samples - end

    def segments(self, samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """samples [C, n] -> the samples [C, m] of each frame, with zeros where there is no sound."""
        for first, end in zip(self.boundaries[:-1].tolist(), self.boundaries[1:].tolist(), strict=True):
            yield _stretch([samples], 0, first, end)

    def windows(self, num_samples: int) -> NDArray[np.int64]:
        """[S]: where windows of that many samples start that are centred on the times of the frames."""
        return self.positions - num_samples // 2


class WindowCutter:
    """Cuts windows of one length, which may overlap, out of a sound that comes in pieces.

    starts [S] in samples, not decreasing; a window may reach over either end of the sound, where it has zeros. Windows
    are handed out in stacks of at most `max_samples` samples per channel, in memory together with the piece at hand.
    """

    def __init__(self, starts: NDArray[np.int64], length: int, *, max_samples: int = 1 << 20) -> None:
        self._starts, self._length = starts, length
        self._max_windows = max(1, max_samples // length)
        self._max_span = max(length, max_samples)
        self._pending: deque[NDArray[np.float32]] = deque()
        self._begin = self._end = 0  # of what is pending
        self._next = 0  # window
        self._channels = 1

    @property
    def num_samples(self) -> int:
        """How many have come so far."""
        return self._end

    def push(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """The next samples [C, n] -> stacks [m, C, length] of the next windows, as far as they are complete."""
        self._channels = len(block)
        self._pending.append(block)
        self._end += block.shape[1]
        while (stop := self._stop()) > self._next and self._starts[stop - 1] + self._length <= self._end:
            yield self._cut(stop)
        self._forget()

    def finish(self, num_windows: int | None = None) -> Iterator[NDArray[np.float32]]:
        """The rest of the windows, of the first `num_windows` if that is given."""
        if num_windows is not None:
            self._starts = self._starts[:num_windows]
        while (stop := self._stop()) > self._next:
            yield self._cut(stop)

    def _stop(self) -> int:
        """Behind the last window of the next stack."""
        starts = self._starts[self._next : self._next + self._max_windows]
        if not len(starts):
            return self._next
        return self._next + int(np.searchsorted(starts, starts[0] + self._max_span - self._length, side="right"))

    def _cut(self, stop: int) -> NDArray[np.float32]:
        starts = self._starts[self._next : stop]
        self._next = stop
        first, end = int(starts[0]), int(starts[-1]) + self._length
        stretch = _stretch(self._pending, self._begin, first, end, self._channels)
        views = np.lib.stride_tricks.sliding_window_view(stretch, self._length, axis=1)
        windows: NDArray[np.float32] = views[:, starts - first].swapaxes(0, 1)
        self._forget()
        return windows

    def _forget(self) -> None:
        """Drops what no later window reaches."""
        needed = int(self._starts[self._next]) if self._next < len(self._starts) else self._end
        while self._pending and self._begin + self._pending[0].shape[1] <= needed:
            self._begin += self._pending.popleft().shape[1]


def _stretch(
    blocks: Iterable[NDArray[np.float32]], position: int, first: int, end: int, channels: int | None = None
) -> NDArray[np.float32]:
    """Samples [C, end - first] of a signal whose blocks [C, n] begin at `position`; zeros where it has none."""
    blocks = list(blocks)
    stretch = np.zeros((len(blocks[0]) if blocks else channels or 1, end - first), np.float32)
    for block in blocks:
        low, high = max(first, position), min(end, position + block.shape[1])
        if low < high:
            stretch[:, low - first : high - first] = block[:, low - position : high - position]
        position += block.shape[1]
    return stretch


def _nearest(value: Fraction) -> int:
    """Half up, as `constant` rounds."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)
