"""Windows over a signal: where they lie, and that it does not matter in which pieces it comes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.dsp.windows import Window, WindowGrid


def cut(signal: np.ndarray, length: int, hop: int, sizes: list[int]) -> list[Window]:
    grid = WindowGrid(length, hop)
    windows, position = [], 0
    for size in [*sizes, len(signal)]:
        windows += grid.push(signal[position : position + size])
        position = min(position + size, len(signal))
    windows += grid.finish()
    assert grid.num_samples == len(signal)
    return windows


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 60), st.lists(st.integers(0, 50), max_size=8))
def test_windows_start_at_multiples_of_the_hop_and_the_last_ends_with_the_signal(
    num_samples: int, length: int, hop: int, sizes: list[int]
) -> None:
    signal = np.arange(1, num_samples + 1, dtype=np.float32)
    windows = cut(signal, length, hop, sizes)
    assert len(windows) == (1 if num_samples <= length else math.ceil((num_samples - length) / hop) + 1)
    starts = [window.start for window in windows]
    assert starts[:-1] == [hop * index for index in range(len(windows) - 1)]
    assert starts[-1] == max(0, num_samples - length)
    for window in windows:
        assert window.valid_samples == min(length, num_samples)
        valid = window.samples[: window.valid_samples]
        np.testing.assert_array_equal(valid, signal[window.start : window.start + window.valid_samples])
        assert window.samples.shape == (length,)
        assert not window.samples[window.valid_samples :].any()


@pytest.mark.parametrize("num_samples", [0, 1, 10, 11])
def test_the_ends_of_short_signals(num_samples: int) -> None:
    expected = {0: [], 1: [(0, 1)], 10: [(0, 10)], 11: [(0, 10), (1, 10)]}
    windows = cut(np.ones(num_samples, np.float32), 10, 5, [])
    assert [(window.start, window.valid_samples) for window in windows] == expected[num_samples]
