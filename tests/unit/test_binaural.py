"""Interaural cues: of delays that are known, and of a real head against what was measured of it."""

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.bands import BANDS_HZ
from service.dsp.binaural import (
    HEAD_RADIUS_M,
    LOWPASS_BAND_HZ,
    SPEED_OF_SOUND_M_S,
    CueEstimator,
    Cues,
    azimuth_deg,
)
from tests import kemar

RATE = kemar.SAMPLE_RATE
SIDES = [azimuth for azimuth in kemar.AZIMUTHS if azimuth % 180]
ESTIMATOR = CueEstimator(RATE, round(0.2 * RATE))
_estimator = lru_cache(maxsize=2)(CueEstimator)


def measured(ears: NDArray[np.float32], **options: tuple[float, float]) -> Cues:
    """The cues of a whole recording [2, n] as one window."""
    return _estimator(RATE, ears.shape[1], **options)(ears[None])


def centred(response: NDArray[np.float32]) -> NDArray[np.float32]:
    """An impulse response [2, n] in the middle of a window of silence."""
    window = np.zeros((1, 2, ESTIMATOR.window_samples), np.float32)
    window[0, :, (window.shape[2] - response.shape[1]) // 2 :][:, : response.shape[1]] = response
    return window


def delayed(sound: NDArray[np.float32], delay_us: float) -> NDArray[np.float32]:
    """Left as it is, right later by a time that need not be whole samples."""
    spectrum = np.fft.rfft(sound)
    late = spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(len(sound), 1 / RATE) * delay_us * 1e-6)
    return np.stack([sound, np.fft.irfft(late, len(sound))]).astype(np.float32)


@pytest.mark.parametrize("delay_us", [-900, -655.8, -11.3, -0.4, 0, 3.7, 132.8, 500.1, 811, 899.9])
def test_a_delay_is_found_to_a_fraction_of_a_sample(delay_us: float) -> None:
    cues = measured(delayed(kemar.noise(), delay_us))
    assert cues.itd_us[0] == pytest.approx(delay_us, abs=0.1)
    assert cues.coherence[0] == pytest.approx(1, abs=0.01)
    assert cues.confidence[0] > 0.8


@pytest.mark.parametrize("row", kemar.cues(), ids=lambda row: str(row["azimuth_deg"]))
def test_responses_of_a_real_head_have_the_cues_that_were_measured(row: dict) -> None:
    window = 50 * centred(kemar.response(row["azimuth_deg"]))
    cues = ESTIMATOR(window)
    assert cues.itd_us[0] == pytest.approx(row["itd_us"], abs=1)
    assert cues.ild_db[0] == pytest.approx(row["ild_db"], abs=0.05)
    np.testing.assert_allclose(cues.ild_band_db[0], row["ild_band_db"], atol=0.3)
    low = CueEstimator(RATE, ESTIMATOR.window_samples, itd_band_hz=LOWPASS_BAND_HZ)(window)
    assert low.itd_us[0] == pytest.approx(row["itd_below_1500_us"], abs=3)


@pytest.mark.parametrize("azimuth", [15, 30, 45, 60, 75, 90])
def test_below_600_hz_a_real_head_is_a_rigid_sphere(azimuth: int) -> None:
    """Kuhn 1977: 3 a / c sin(theta)."""
    cues = measured(kemar.heard(kemar.noise(), azimuth), itd_band_hz=(200.0, 600.0))
    sphere_us = 3e6 * HEAD_RADIUS_M / SPEED_OF_SOUND_M_S * np.sin(np.radians(azimuth))
    assert cues.itd_us[0] == pytest.approx(sphere_us, rel=0.03)


@pytest.mark.parametrize("sound", [kemar.noise(), kemar.speech()], ids=["noise", "speech"])
def test_recordings_with_noise_keep_the_cues_of_the_head(sound: NDArray[np.float32]) -> None:
    generator = np.random.default_rng(20)
    for row in kemar.cues():
        ears = kemar.heard(sound, row["azimuth_deg"])
        level = np.sqrt(np.mean(np.square(ears)))  # 20 dB above the noise
        ears += generator.standard_normal(ears.shape).astype(np.float32) * level / 10
        cues = measured(ears)
        assert cues.itd_us[0] == pytest.approx(row["itd_us"], abs=25), row
        if row["azimuth_deg"] % 180:
            assert np.sign(cues.itd_us[0]) == np.sign(row["itd_us"])
            assert np.sign(cues.ild_db[0]) == np.sign(row["ild_db"])


@pytest.mark.parametrize("azimuth", SIDES)
def test_levels_of_white_noise_are_those_of_the_head(azimuth: int) -> None:
    row = next(row for row in kemar.cues() if row["azimuth_deg"] == azimuth)
    cues = measured(kemar.heard(kemar.noise(), azimuth))
    assert cues.ild_db[0] == pytest.approx(row["ild_db"], abs=0.3)
    np.testing.assert_allclose(cues.ild_band_db[0, 1:], row["ild_band_db"][1:], atol=0.5)
    assert cues.ild_band_db[0, 0] == pytest.approx(row["ild_band_db"][0], abs=1)


@pytest.mark.parametrize("azimuth", SIDES[::3])
def test_the_time_difference_survives_as_much_reverberation_as_direct_sound(azimuth: int) -> None:
    row = next(row for row in kemar.cues() if row["azimuth_deg"] == azimuth)
    generator = np.random.default_rng(azimuth)
    direct = kemar.response(azimuth).astype(np.float64)
    response = np.zeros((2, RATE // 2))
    decay = np.exp(-6.91 * np.arange(RATE // 2) / (RATE * 0.4))
    tail = generator.standard_normal(response.shape) * decay
    tail[:, : RATE // 200] = 0
    response += tail * np.sqrt(np.square(direct).sum() / np.square(tail).sum())
    response[:, : direct.shape[1]] += direct
    size = 1 << 18
    ears = np.fft.irfft(np.fft.rfft(response, size) * np.fft.rfft(kemar.noise(), size), size)[:, : 2 * RATE]
    assert measured(ears.astype(np.float32)).itd_us[0] == pytest.approx(row["itd_us"], abs=60)


def test_short_windows_find_the_direction_of_speech() -> None:
    ears = kemar.heard(kemar.speech(), 45)
    starts = np.arange(0, ears.shape[1] - ESTIMATOR.window_samples, RATE // 30)
    windows = np.stack([ears[:, start : start + ESTIMATOR.window_samples] for start in starts])
    cues = ESTIMATOR(windows).gated(20)
    assert 0.5 < np.mean(~np.isnan(cues.itd_us)) < 1  # pauses are left out
    errors = np.abs(cues.itd_us - 389.9)
    assert np.nanmedian(errors) < 15
    assert np.nanpercentile(errors, 90) < 60


def test_swapped_ears_turn_every_sign() -> None:
    windows = np.concatenate([centred(50 * kemar.response(azimuth)) for azimuth in kemar.AZIMUTHS])
    cues, swapped = ESTIMATOR(windows), ESTIMATOR(windows[:, ::-1])
    for name in ("itd_us", "ild_db", "ild_band_db", "azimuth_deg"):
        np.testing.assert_allclose(getattr(swapped, name), -getattr(cues, name), atol=0.1)
    for name in ("coherence", "confidence", "level_dbfs"):
        np.testing.assert_allclose(getattr(swapped, name), getattr(cues, name), atol=1e-4)


def test_cues_do_not_depend_on_the_gain() -> None:
    ears = kemar.heard(kemar.noise(), 60)
    loud, quiet = measured(4 * ears), measured(ears)
    assert loud.level_dbfs - quiet.level_dbfs == pytest.approx(12.041, abs=1e-3)
    for name in ("itd_us", "ild_db", "ild_band_db", "coherence", "azimuth_deg", "confidence"):
        np.testing.assert_allclose(getattr(quiet, name), getattr(loud, name), atol=1e-2)


def test_windows_do_not_depend_on_what_is_measured_with_them() -> None:
    windows = np.concatenate([centred(50 * kemar.response(azimuth)) for azimuth in kemar.AZIMUTHS])
    together = ESTIMATOR(windows)
    alone = Cues.join([ESTIMATOR(window[None]) for window in windows])
    np.testing.assert_allclose(together.itd_us, alone.itd_us, atol=1e-3)
    np.testing.assert_allclose(together.ild_band_db, alone.ild_band_db, atol=1e-6)


def test_one_sound_in_both_ears_has_no_difference() -> None:
    cues = measured(np.stack([kemar.noise()] * 2))
    assert (cues.itd_us[0], cues.ild_db[0], cues.azimuth_deg[0]) == pytest.approx((0, 0, 0), abs=1e-9)
    assert cues.coherence[0] == pytest.approx(1, abs=1e-5)  # sums of float32


def test_unrelated_ears_have_little_coherence_and_confidence() -> None:
    cues = measured(np.stack([kemar.noise(seed=1), kemar.noise(seed=2)]))
    assert cues.coherence[0] < 0.1
    assert cues.confidence[0] < 0.5


def test_silence_has_no_cues_and_a_silent_ear_no_time() -> None:
    silence = ESTIMATOR(np.zeros((1, 2, ESTIMATOR.window_samples), np.float32))
    for name in ("itd_us", "ild_db", "ild_band_db", "coherence", "azimuth_deg"):
        assert np.isnan(getattr(silence, name)).all(), name
    assert silence.confidence[0] == 0
    sound = kemar.noise()
    left = measured(np.stack([sound, 0 * sound]))
    assert np.isnan(left.itd_us[0])
    assert left.ild_db[0] == pytest.approx(60)
    assert left.coherence[0] == 0


def test_a_band_without_sound_or_beyond_the_sample_rate_is_not_a_number() -> None:
    time = np.arange(RATE) / RATE
    tone = (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    bands = measured(np.stack([tone, tone / 2])).ild_band_db[0]
    assert bands[BANDS_HZ.index(1000)] == pytest.approx(6.02, abs=0.01)
    assert np.isnan(np.delete(bands, BANDS_HZ.index(1000))).all()
    narrow = CueEstimator(16_000, 3200)(np.random.default_rng(0).standard_normal((1, 2, 3200)).astype(np.float32))
    assert np.isnan(narrow.ild_band_db[0]).tolist() == [False] * 6 + [True] * 2


def test_the_level_of_a_full_scale_sine_is_zero() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    assert measured(np.stack([tone, tone / 10])).level_dbfs[0] == pytest.approx(0, abs=0.01)


def test_what_is_quieter_than_the_gate_has_levels_but_no_direction() -> None:
    loud = centred(50 * kemar.response(30))
    cues = ESTIMATOR(np.concatenate([loud, loud / 5, loud / 20])).gated(20)
    assert np.isnan(cues.itd_us).tolist() == np.isnan(cues.azimuth_deg).tolist() == [False, False, True]
    assert cues.confidence[2] == 0
    np.testing.assert_allclose(cues.ild_db, cues.ild_db[0], atol=1e-6)


def test_the_azimuth_inverts_the_sphere_and_stops_at_the_side() -> None:
    angles = np.array([-90, -60, -15, 0, 15, 45, 90.0])
    theta = np.radians(angles)
    itd_s = HEAD_RADIUS_M / SPEED_OF_SOUND_M_S * (theta + np.sin(theta))
    np.testing.assert_allclose(1e6 * itd_s[[1, 2, 5]], [-488.1, -132.8, 380.7], atol=0.05)
    np.testing.assert_allclose(azimuth_deg(itd_s), angles, atol=1e-3)
    np.testing.assert_array_equal(azimuth_deg(np.array([-8e-4, 8e-4])), [-90, 90])
    assert np.isnan(azimuth_deg(np.array([np.nan])))


def test_windows_too_short_to_tell_are_refused() -> None:
    with pytest.raises(ValueError, match=r"below 0\.2 s"):
        CueEstimator(48_000, 1600)
