"""Recordings of training speech in other rooms, by other microphones."""

import random

import numpy as np
import pytest

from export.vatt import channel
from export.vatt.channel import recorded

RATE = 24_000


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


@pytest.mark.parametrize("count", [1, 977, 2 * RATE])
def test_length_type_and_peak_stay(count: int) -> None:
    samples = noise(count)
    heard = recorded(samples, RATE, random.Random(1))
    assert (heard.shape, heard.dtype) == (samples.shape, np.float32)
    assert np.abs(heard).max() == pytest.approx(np.abs(samples).max(), rel=1e-5)


def test_silence_stays_silence() -> None:
    assert not recorded(np.zeros(RATE, np.float32), RATE, random.Random(0)).any()


def test_the_same_draw_is_the_same_recording_and_another_is_not() -> None:
    samples = noise(RATE)
    first, again, other = (recorded(samples, RATE, random.Random(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_narrow_band_has_nothing_above_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "NARROW", 1.0)
    monkeypatch.setattr(channel, "BANDS_HZ", (3000.0, 3000.0))
    spectrum = np.abs(np.fft.rfft(recorded(noise(4 * RATE), RATE, random.Random(0)))) ** 2
    hz = np.fft.rfftfreq(4 * RATE, 1 / RATE)
    assert spectrum[hz > 6000].sum() < 1e-3 * spectrum[hz < 3000].sum()


def test_a_room_rings_for_its_reverberation_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "NARROW", 0.0)
    monkeypatch.setattr(channel, "COLOUR_DB", 0.0)
    monkeypatch.setattr(channel, "ROOMS", 1.0)
    monkeypatch.setattr(channel, "RT60_S", (0.5, 0.5))
    click = np.zeros(RATE, np.float32)
    click[0] = 1
    energy = np.square(recorded(click, RATE, random.Random(0))[1:])
    early, late = energy[: RATE // 20].sum(), energy[RATE // 4 : RATE // 4 + RATE // 20].sum()
    assert 10 * np.log10(early / late) == pytest.approx(60 * 0.25 / 0.5, abs=1.5)
