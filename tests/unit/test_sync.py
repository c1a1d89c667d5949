"""Frames and samples: every boundary in the right place, for as long as a recording lasts."""

import tracemalloc
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.dsp.sync import FrameClock, WindowCutter, frame_rate, frames_within

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        ("30000/1001", NTSC),
        ("29.97", NTSC),
        (29.97, NTSC),
        (" 29.970 ", NTSC),
        ("23.976", Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        ("119.88", Fraction(120000, 1001)),
        ("30", Fraction(30)),
        (72, Fraction(72)),
        ("12.5", Fraction(25, 2)),
        ("29.9", Fraction(299, 10)),
        (Fraction(1, 2), Fraction(1, 2)),
    ],
)
def test_frame_rates_are_ratios_and_ntsc_decimals_are_what_they_stand_for(
    value: str | float | Fraction, rate: Fraction
) -> None:
    assert frame_rate(value) == rate


@pytest.mark.parametrize(
    "value",
    [
        *("0", "nan", "inf", "-30", "30/0", "30000/1001/2", "1e999999999", "", "thirty", "٣٠", "1_0", "9999", "0.0001"),
        *(0, -1.0, float("nan"), float("inf"), 1e300),
    ],
)
def test_what_is_no_frame_rate_is_refused(value: str | float) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        frame_rate(value)


@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("rate", [NTSC, Fraction(24000, 1001), Fraction(60000, 1001), 24, 25, 30, 72, 90, 120, 144])
def test_no_boundary_is_ever_off_by_more_than_half_a_sample(sample_rate: int, rate: Fraction | int) -> None:
    rate = Fraction(rate)
    num_frames = int(600 * rate)
    clock = FrameClock.constant(rate, num_frames, sample_rate)
    exact = np.arange(num_frames + 1) * (sample_rate / float(rate))
    assert np.abs(clock.boundaries - exact).max() <= 0.5 + 1e-6
    assert np.ptp(np.diff(clock.boundaries)) <= 1
    assert clock.boundaries[0] == 0
    np.testing.assert_allclose(clock.times_s, np.arange(num_frames) / float(rate), atol=1e-9)


def test_ntsc_frames_at_48_khz_have_8008_samples_in_five() -> None:
    lengths = np.diff(FrameClock.constant(NTSC, 10, 48_000).boundaries)
    assert lengths.tolist() == [1602, 1601, 1602, 1601, 1602] * 2


def test_a_click_at_each_of_17982_frames_falls_into_that_frame() -> None:
    """Ten minutes of 29.97 frames a second; a click at the sample nearest to the instant of each."""
    num_frames = 17_982
    clicks = np.rint(np.arange(num_frames) * 1601.6).astype(np.int64)
    clock = FrameClock.constant(NTSC, num_frames, 48_000)
    frames = np.searchsorted(clock.boundaries, clicks, side="right") - 1
    np.testing.assert_array_equal(frames, np.arange(num_frames))
    assert abs(clock.boundaries[-1] - num_frames / NTSC * 48_000) <= 0.5


def test_segments_put_together_are_the_sound() -> None:
    samples = np.random.default_rng(0).standard_normal((2, 20_000)).astype(np.float32)
    clock = FrameClock.constant(NTSC, 12, 48_000)
    segments = list(clock.segments(samples))
    assert [segment.shape[1] for segment in segments] == np.diff(clock.boundaries).tolist()
    np.testing.assert_array_equal(np.concatenate(segments, axis=1)[:, :19_219], samples[:, :19_219])
    assert clock.unused_samples(20_000) == (0, 20_000 - clock.boundaries[-1])


def test_a_sound_that_ends_early_fills_its_last_frame_with_zeros_and_says_so() -> None:
    samples = np.ones((1, 2500), np.float32)
    clock = FrameClock.constant(Fraction(48), 4, 48_000)
    assert clock.valid_samples(2500).tolist() == [1000, 1000, 500, 0]
    sums = [float(segment.sum()) for segment in clock.segments(samples)]
    assert sums == [1000, 1000, 500, 0]
    assert all(segment.shape == (1, 1000) for segment in clock.segments(samples))


def test_a_sound_shorter_than_one_frame_and_a_video_of_one_frame() -> None:
    clock = FrameClock.constant(Fraction(30), 1, 48_000)
    assert clock.boundaries.tolist() == [0, 1600]
    assert clock.valid_samples(10).tolist() == [10]
    assert clock.unused_samples(10) == (0, 0)
    assert clock.unused_samples(2000) == (0, 400)
    with pytest.raises(ValueError, match="at least one frame"):
        FrameClock.constant(Fraction(30), 0, 48_000)


@pytest.mark.parametrize(
    ("offset_s", "first", "valid", "unused"),
    [
        (Fraction(1, 20), -2400, [0, 800, 1600], (0, 1600)),  # begins half a frame into the second frame
        (Fraction(-1, 10), 4800, [0, 0, 0], (4000, 0)),  # is over before the video begins
        (Fraction(-1, 30), 1600, [1600, 800, 0], (1600, 0)),
        (Fraction(1, 10), -4800, [0, 0, 0], (0, 4000)),  # begins after the last frame
    ],
)
def test_a_sound_that_starts_at_another_time_is_shifted(
    offset_s: Fraction, first: int, valid: list[int], unused: tuple[int, int]
) -> None:
    clock = FrameClock.constant(Fraction(30), 3, 48_000, offset_s=offset_s)
    assert clock.boundaries[0] == first
    assert clock.valid_samples(4000).tolist() == valid
    assert clock.unused_samples(4000) == unused
    stamped = FrameClock.at([Fraction(k, 30) for k in range(3)], 48_000, offset_s=offset_s)
    np.testing.assert_array_equal(stamped.boundaries, clock.boundaries)


def test_timestamps_give_frames_of_any_length_and_the_last_one_the_median() -> None:
    clock = FrameClock.at([0, 0.1, 0.15, 0.4], 48_000)
    assert clock.boundaries.tolist() == [0, 4800, 7200, 19_200, 24_000]
    declared = FrameClock.at([0, 0.1, 0.15, 0.4], 48_000, last_duration_s=0.25)
    assert declared.boundaries[-1] == 31_200
    assert FrameClock.at([2.5], 48_000).boundaries.tolist() == [120_000, 121_600]


@pytest.mark.parametrize("timestamps", [[0, 0.1, 0.1], [0, 1, 0.5], [0, float("nan")], [float("inf")], []])
def test_timestamps_that_contradict_themselves_are_refused(timestamps: list[float]) -> None:
    with pytest.raises(ValueError, match=r"timestamps|at least one frame"):
        FrameClock.at(timestamps, 48_000)
    with pytest.raises(ValueError, match="last frame lasts"):
        FrameClock.at([0], 48_000, last_duration_s=0)


def test_the_frames_that_a_sound_covers_are_counted_exactly() -> None:
    assert frames_within(Fraction(600), NTSC) == 17_983  # number 17982 begins 0.6 ms before the end
    assert frames_within(Fraction(1, 30), Fraction(30)) == 1
    assert frames_within(Fraction(1), Fraction(30), Fraction(-1, 2)) == 15
    assert frames_within(Fraction(1), Fraction(30), Fraction(-2)) == 0


def test_windows_are_centred_on_the_frames() -> None:
    clock = FrameClock.constant(Fraction(30), 3, 48_000)
    assert clock.windows(9600).tolist() == [-4800, -3200, -1600]
    assert clock.first(2).windows(9600).tolist() == [-4800, -3200]


def cut(signal: NDArray[np.float32], starts: list[int], length: int, sizes: list[int], **options: int) -> NDArray:
    cutter = WindowCutter(np.array(starts, np.int64), length, **options)
    stops = np.cumsum(sizes)[np.cumsum(sizes) < signal.shape[1]]
    blocks = np.split(signal, stops, axis=1)
    stacks = [stack for block in blocks for stack in cutter.push(block)]
    return np.concatenate([*stacks, *cutter.finish()])


@given(
    starts=st.lists(st.integers(-300, 1300), min_size=1, max_size=30).map(sorted),
    length=st.integers(1, 200),
    sizes=st.lists(st.integers(0, 400), max_size=10),
    max_samples=st.integers(1, 1000),
)
def test_windows_are_the_same_however_the_sound_arrives(
    starts: list[int], length: int, sizes: list[int], max_samples: int
) -> None:
    signal = np.arange(1, 2001, dtype=np.float32).reshape(2, 1000)
    extended = np.pad(signal, ((0, 0), (300, 600)))
    expected = np.stack([extended[:, start + 300 : start + 300 + length] for start in starts])
    np.testing.assert_array_equal(cut(signal, starts, length, sizes, max_samples=max_samples), expected)


def test_a_long_sound_is_cut_in_little_memory() -> None:
    """An hour at 48 kHz in blocks of a second, with a window every 100 s: nothing between the windows is kept."""
    cutter = WindowCutter(np.arange(36, dtype=np.int64) * 4_800_000, 9600)
    windows = 0
    tracemalloc.start()
    for number in range(3600):
        block = np.full((2, 48_000), number, np.float32)
        for stack in cutter.push(block):
            windows += len(stack)
            assert stack[0, 0, -1] == number  # as soon as it is complete
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert windows == 36
    assert peak < 3 * block.nbytes


def test_stacks_are_bounded_in_samples() -> None:
    cutter = WindowCutter(np.arange(100, dtype=np.int64) * 10, 1000, max_samples=8000)
    stacks = [*cutter.push(np.zeros((2, 5000), np.float32)), *cutter.finish()]
    assert sum(map(len, stacks)) == 100
    assert {len(stack) for stack in stacks[:-1]} == {8}
    assert all(earlier.shape[1:] == later.shape[1:] for earlier, later in pairwise(stacks))
