"""The interaural cross-correlation coefficient of binaural impulse responses whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.dsp.iacc import iacc

RATE = 48_000


def noise(seconds: float, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def test_identical_ears_correlate_fully_in_every_part_and_band() -> None:
    response = noise(0.5, 0) * np.exp(-np.arange(RATE // 2) / RATE / 0.1)
    result = iacc(np.stack([response, response]).astype(np.float32), RATE)
    for part in (result.early, result.late, result.full):
        np.testing.assert_allclose(part, 1, atol=1e-6)


def test_a_delayed_and_a_weaker_ear_correlate_as_well_up_to_a_millisecond() -> None:
    response = noise(0.3, 0)
    for delay, correlated in ((30, True), (90, False)):
        late = np.concatenate([np.zeros(delay), response[:-delay]]) / 4
        full = iacc(np.stack([response, late]).astype(np.float32), RATE).full[0]
        assert bool(full > 0.99) is correlated


def test_direct_sound_and_reverberation_are_told_apart_at_80_ms() -> None:
    """A common early part of 50 ms from sample 1000, and unrelated tails from 90 ms behind it."""
    ears = np.zeros((2, RATE), np.float32)
    ears[:, 1000 : 1000 + RATE // 20] = noise(0.05, 1)
    for ear, seed in zip(ears, (2, 3), strict=True):
        tail = ear[1000 + RATE * 9 // 100 :]
        tail[:] = 0.1 * noise(1, seed)[: len(tail)]
    result = iacc(ears, RATE)
    assert result.early[0] == pytest.approx(1, abs=1e-4)
    assert result.late[0] < 0.05
    assert result.late[0] < result.full[0] < result.early[0]


def test_the_coefficient_is_that_of_the_mixture() -> None:
    """Ears that share half of their energy correlate by half."""
    shared, left, right = noise(2, 1), noise(2, 2), noise(2, 3)
    full = iacc(np.stack([shared + left, shared + right]).astype(np.float32), RATE).full
    assert full[0] == pytest.approx(0.5, abs=0.02)
    np.testing.assert_allclose(full[3:], 0.5, atol=0.06)  # of narrower bands the lobes rise a little above


def test_bands_are_octaves() -> None:
    """Ears with the same sound in the octave around 1 kHz and unrelated sound in the others."""
    frequencies = np.fft.rfftfreq(2 * RATE, 1 / RATE)
    octave = (frequencies > 1000 / 2**0.5) & (frequencies < 1000 * 2**0.5)
    shared = np.fft.rfft(noise(2, 0))
    ears = [np.fft.irfft(np.where(octave, shared, np.fft.rfft(noise(2, seed)))) for seed in (1, 2)]
    full = iacc(np.stack(ears).astype(np.float32), RATE).full
    assert full[4] > 0.99
    assert max(full[5:]) < 0.1


def test_what_has_no_energy_has_no_coefficient() -> None:
    click = np.zeros((2, 480), np.float32)
    click[:, 100] = 1
    result = iacc(click, 16_000)
    assert result.early[0] == 1
    assert np.isnan(result.late).all()
    assert np.isnan(result.early).tolist() == [False] * 7 + [True] * 2  # 8 and 16 kHz are beyond
