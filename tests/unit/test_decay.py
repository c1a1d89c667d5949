"""What is read from impulse responses: of known decays, with noise, and of pyroomacoustics' rooms."""

from dataclasses import astuple

import numpy as np
import pyroomacoustics
import pytest
from pyroomacoustics.experimental import measure_rt60

from service.acoustics.bands import BANDS_HZ
from service.acoustics.clarity import centre_time, clarity_db, definition
from service.acoustics.decay import T30_DB, decay_time, measure, octave_bands, schroeder
from service.acoustics.polyhedron import box
from service.acoustics.raytrace import trace

SAMPLE_RATE = 48_000


def decaying_noise(rt60: float, floor: float = 0.0, delay: int = 0) -> np.ndarray:
    """Gaussian noise that falls by 60 dB in rt60 seconds from a level of 1, over noise of a constant level."""
    chance = np.random.default_rng(0)
    times = np.arange(round(1.5 * rt60 * SAMPLE_RATE)) / SAMPLE_RATE
    decay = chance.standard_normal(len(times)) * 10 ** (-3 * times / rt60)
    response = np.concatenate([np.zeros(delay), decay])
    return response + floor * chance.standard_normal(len(response))


def test_schroeder_integrates_backwards() -> None:
    np.testing.assert_array_equal(schroeder(np.array([[1.0, 2, 3], [0, 0, 1]])), [[6, 5, 3], [1, 1, 1]])


def test_a_straight_decay_has_its_time_in_any_range() -> None:
    level = -60 * np.arange(1000) / 800
    for limits in ((0.0, -10.0), (-5.0, -25.0), T30_DB):
        assert float(decay_time(level, 0.001, limits)) == pytest.approx(0.8, rel=1e-9)
    assert np.isnan(decay_time(level[:400], 0.001, T30_DB))  # ends at -30 dB
    assert decay_time(np.stack([level, level]), 0.001, T30_DB).shape == (2,)


@pytest.mark.parametrize("rt60", [0.3, 0.5, 1.0, 2.0])
def test_an_exponential_reads_as_it_is(rt60: float) -> None:
    response = 10 ** (-3 * np.arange(round(1.5 * rt60 * SAMPLE_RATE)) / SAMPLE_RATE / rt60)
    read = measure(response, SAMPLE_RATE)
    for time in (read.edt_s, read.t20_s, read.t30_s):
        assert time[0] == pytest.approx(rt60, rel=2e-3)
    assert read.c50_db[0] == pytest.approx(float(clarity_db(rt60, 0.05)), abs=0.02)
    assert read.c80_db[0] == pytest.approx(float(clarity_db(rt60, 0.08)), abs=0.02)
    assert read.d50[0] == pytest.approx(float(definition(rt60)), abs=1e-3)
    assert read.ts_s[0] == pytest.approx(float(centre_time(rt60)), rel=2e-3)


def test_noise_decays_alike_in_all_bands() -> None:
    read = measure(decaying_noise(1.0), SAMPLE_RATE)
    assert read.t30_s[0] == pytest.approx(1, rel=0.02)
    # the narrower the band, the more one decay differs from the next
    np.testing.assert_allclose(read.t30_s[1:], 1, rtol=0.12)
    np.testing.assert_allclose(read.t30_s[4:], 1, rtol=0.05)
    np.testing.assert_allclose(read.c50_db[4:], float(clarity_db(1.0, 0.05)), atol=1.5)


def test_noise_below_the_decay_changes_little() -> None:
    clean, noisy = (measure(decaying_noise(1.0, floor), SAMPLE_RATE) for floor in (0, 1e-3))
    np.testing.assert_allclose(noisy.t30_s, clean.t30_s, rtol=0.015)
    np.testing.assert_allclose(noisy.ts_s, clean.ts_s, rtol=0.015)
    np.testing.assert_allclose(noisy.c50_db, clean.c50_db, atol=0.05)


def test_times_that_noise_hides_are_unknown() -> None:
    read = measure(decaying_noise(1.0, 0.03), SAMPLE_RATE)  # 30 dB of decay
    assert np.isnan(read.t30_s).all()
    assert read.edt_s[0] == pytest.approx(1, rel=0.05)
    still = measure(np.random.default_rng(0).standard_normal(SAMPLE_RATE), SAMPLE_RATE)
    assert np.isnan(still.edt_s).all()


def test_time_counts_from_the_direct_sound_at_any_level() -> None:
    early, late = (
        measure(decaying_noise(0.5), SAMPLE_RATE),
        measure(1e-3 * decaying_noise(0.5, delay=5000), SAMPLE_RATE),
    )
    for one, other in zip(astuple(early), astuple(late), strict=True):
        np.testing.assert_allclose(other, one, rtol=0.1)
        np.testing.assert_allclose(other[0], one[0], rtol=1e-3)


def test_octave_filters_pass_their_octave_without_delay() -> None:
    size = SAMPLE_RATE
    impulse = np.zeros(size)
    impulse[size // 2] = 1
    bands = octave_bands(impulse, SAMPLE_RATE)
    np.testing.assert_allclose(bands[:, size // 2 + 1 :], bands[:, size // 2 - 1 : 0 : -1], atol=1e-9)
    gains = np.abs(np.fft.rfft(bands))
    for gain, centre in zip(gains, BANDS_HZ, strict=True):
        assert gain[centre] == pytest.approx(1, abs=1e-3)
        assert gain[round(centre * 2**0.5)] == pytest.approx(0.5**0.5, rel=0.01)
        assert gain[centre // 4] < 0.03


def test_bands_beyond_the_sample_rate_are_unknown() -> None:
    read = measure(decaying_noise(0.5)[::3], 16_000)
    np.testing.assert_array_equal(np.isnan(read.t30_s), [False] * 7 + [True] * 2)
    np.testing.assert_array_equal(np.isnan(read.c50_db), [False] * 7 + [True] * 2)


def test_an_impulse_alone_is_all_early() -> None:
    response = np.zeros(SAMPLE_RATE)
    response[100] = 1
    read = measure(response, SAMPLE_RATE)
    assert (read.d50[0], read.c50_db[0], read.ts_s[0]) == (1, np.inf, 0)
    assert np.isnan(read.t30_s[0])


@pytest.mark.parametrize(
    "response",
    [np.zeros(48_000), np.ones(100), np.ones((2, 48_000)), np.full(48_000, np.nan)],
    ids=lambda r: str(r[:1]),
)
def test_what_is_no_impulse_response_is_refused(response: np.ndarray) -> None:
    with pytest.raises(ValueError, match="impulse response"):
        measure(response, SAMPLE_RATE)


def test_a_simulated_room_decays_as_its_particles_do() -> None:
    """Image sources and rays of pyroomacoustics, whose T30 is known to scatter by some percent between places."""
    pyroomacoustics.seed(0)
    walls = pyroomacoustics.Material(energy_absorption=0.2, scattering=0.5)
    room = pyroomacoustics.ShoeBox(
        [6, 5, 3], fs=16_000, materials=walls, max_order=3, ray_tracing=True, air_absorption=False
    )
    room.set_ray_tracing(n_rays=10_000, receiver_radius=0.5)
    room.add_source([1.2, 1.5, 1.1])
    room.add_microphone_array(np.array([[4.5, 3.7, 1.6], [3.0, 1.0, 2.0], [5.2, 1.1, 1.2]]).T)
    room.compute_rir()
    responses = [room.rir[place][0] for place in range(3)]
    times = np.array([measure(response, 16_000).t30_s for response in responses])
    for response, time in zip(responses, times[:, 0], strict=True):
        assert time == pytest.approx(measure_rt60(response, 16_000, decay_db=30), rel=0.01)
    expected = trace(box((6, 5, 3)), np.full((6, 1), 0.2), np.full(6, 0.5)).rt60()
    np.testing.assert_allclose(times[:, 0].mean(), expected, rtol=0.04)
    np.testing.assert_allclose(times[:, 3:7].mean(axis=0), np.full(4, expected[0]), rtol=0.1)
