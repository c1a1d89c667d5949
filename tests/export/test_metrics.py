"""The quality metrics on a real recording: exact where theory says so, and as measured before elsewhere."""

import math
import shutil

import numpy as np
import pytest

from export.classical import available, codec2, opus
from export.metrics import (
    MAX_LAG_S,
    SAMPLE_RATE,
    Waveform,
    align,
    multi_resolution_stft,
    pesq_score,
    stoi,
    word_error_rate,
)
from tests.sounds import clip


@pytest.fixture(scope="module")
def speech() -> Waveform:
    return clip()


@pytest.fixture(scope="module")
def noisy(speech: Waveform) -> Waveform:
    """Speech with white noise 10.5 dB below it."""
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    return speech + 0.3 * speech.std() * noise


def test_a_perfect_copy_has_the_best_scores_that_exist(speech: Waveform) -> None:
    assert stoi(speech, speech) == pytest.approx(1)
    assert stoi(speech, speech, extended=True) == pytest.approx(1)
    assert pesq_score(speech, speech) == pytest.approx(4.644, abs=1e-3)  # the ceiling of P.862.2
    assert pesq_score(speech, speech, wideband=False) == pytest.approx(4.549, abs=1e-3)  # of P.862.1
    assert multi_resolution_stft(speech, speech) == 0


def test_noise_costs_what_it_cost_before(speech: Waveform, noisy: Waveform) -> None:
    assert stoi(speech, noisy) == pytest.approx(0.868, abs=0.005)
    assert stoi(speech, noisy, extended=True) == pytest.approx(0.717, abs=0.005)
    assert pesq_score(speech, noisy) == pytest.approx(1.08, abs=0.02)
    assert pesq_score(speech, noisy, wideband=False) == pytest.approx(1.51, abs=0.02)


def test_the_stft_distance_of_half_the_level_is_known(speech: Waveform) -> None:
    half = (0.5 * speech).astype(np.float32)
    # Spectral convergence is 1/2; the logarithm differs by ln 2 except where both lie under the floor.
    assert multi_resolution_stft(speech, half) == pytest.approx(0.5 + math.log(2), abs=0.12)


def test_what_cannot_be_scored_is_nan_and_no_crash(speech: Waveform) -> None:
    silence = np.zeros_like(speech)
    assert math.isnan(pesq_score(speech, silence))
    assert math.isnan(pesq_score(silence, speech))
    assert math.isnan(pesq_score(speech[:3000], speech[:3000]))
    assert math.isnan(stoi(speech[:3000], speech[:3000]))


@pytest.mark.parametrize("lag", [-800, 0, 1, 1500])
def test_a_delay_is_found_and_taken_out(speech: Waveform, lag: int) -> None:
    assert abs(lag) < MAX_LAG_S * SAMPLE_RATE
    shifted = np.pad(speech, (lag, 0)) if lag > 0 else speech[-lag:]
    aligned = align(speech, shifted)
    assert len(aligned) == len(speech)
    assert np.array_equal(aligned[800:], speech[800:])


def test_word_errors_are_substitutions_deletions_and_insertions() -> None:
    assert word_error_rate(["It's almost worn out."], ["it's almost worn out!"]) == 0
    assert word_error_rate(["one two three four"], ["one too three"]) == 0.5
    assert word_error_rate(["one two"], ["one two three four five"]) == 1.5
    assert word_error_rate(["a b c", "d"], ["a b c", ""]) == 0.25  # over all words, not the mean of the clips


def test_only_installed_codecs_are_compared() -> None:
    installed = available()
    assert ("codec2 700C" in installed) == (shutil.which("c2enc") is not None)
    assert ("opus" in installed) == (shutil.which("opusenc") is not None)


@pytest.mark.skipif(not shutil.which("opusenc"), reason="opus-tools is not installed")
def test_opus_comes_back_in_time_and_intelligible(speech: Waveform) -> None:
    decoded = opus(speech)
    assert len(decoded) == len(speech)
    assert stoi(speech, decoded) > 0.85


@pytest.mark.skipif(not shutil.which("c2enc"), reason="codec2 is not installed")
def test_codec2_comes_back_in_time_and_half_intelligible(speech: Waveform) -> None:
    decoded = codec2(speech, "1300")
    assert len(decoded) == len(speech)
    assert 0.65 < stoi(speech, decoded) < 0.9
