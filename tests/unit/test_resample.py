"""Resampling: exact lengths, no delay, the same in blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.media.resample import Resampler
from tests.sounds import clip


def resampled(samples: NDArray[np.float32], rate_in: int, rate_out: int, block_size: int) -> NDArray[np.float32]:
    resampler = Resampler(rate_in, rate_out, len(samples))
    blocks = [resampler.push(samples[:, i : i + block_size]) for i in range(0, samples.shape[1], block_size)]
    return np.concatenate([*blocks, resampler.finish()], axis=1)


@pytest.mark.parametrize("rate_in", [4_000, 11_025, 16_000, 44_100, 44_056, 48_000, 768_000])
@pytest.mark.parametrize("num_samples", [1, 2, 100, 40_000])
def test_n_samples_become_n_times_the_ratio_rounded_up(rate_in: int, num_samples: int) -> None:
    samples = np.resize(clip(), (2, num_samples))
    assert resampled(samples, rate_in, 16_000, 999).shape == (2, -(-num_samples * 16_000 // rate_in))


@pytest.mark.parametrize("rate_in", [8_000, 44_100, 96_000])
def test_blocks_of_any_size_give_exactly_the_same_signal(rate_in: int) -> None:
    samples = clip()[None]
    whole = resampled(samples, rate_in, 16_000, samples.shape[1])
    for block_size in (50, 4_096):
        np.testing.assert_array_equal(resampled(samples, rate_in, 16_000, block_size), whole)


@pytest.mark.parametrize("rate_in", [22_050, 44_100, 48_000])
def test_a_tone_keeps_its_phase_and_level(rate_in: int) -> None:
    tone = [np.sin(2 * np.pi * 440 * np.arange(rate) / rate, dtype=np.float64) for rate in (rate_in, 16_000)]
    result = resampled(tone[0][None].astype(np.float32), rate_in, 16_000, 5_000)[0]
    np.testing.assert_allclose(result[500:-500], tone[1][500:-500], atol=1e-5)


def test_what_the_lower_rate_cannot_hold_is_filtered_out() -> None:
    tone = np.sin(2 * np.pi * 9_000 * np.arange(48_000) / 48_000)[None].astype(np.float32)
    assert np.abs(resampled(tone, 48_000, 16_000, 5_000)[:, 500:-500]).max() < 1e-4


def test_equal_rates_pass_every_sample_through() -> None:
    np.testing.assert_array_equal(resampled(clip()[None], 16_000, 16_000, 1_000), clip()[None])
