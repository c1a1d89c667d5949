"""What maps may contain, and that it stays so after every coding."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.acoustics.validity import (
    AcousticMaps,
    decode_sqrt,
    encode_reflection,
    encode_sqrt,
    inspect,
    project,
    sqrt_error,
    to_float16,
)

PIXELS = (16, 16)
CORNERS = (0.0, 1.0, 1e-8, 0.5, 1 - 2**-24, -0.1, 1.1, np.nan, np.inf, -np.inf)


def any_maps(seed: int) -> AcousticMaps:
    """Maps as a network without constraints could give them, with every corner case among them."""
    chance = np.random.default_rng(seed)

    def values(channels: int, spread: float = 0.5) -> np.ndarray:
        array = chance.normal(0.5, spread, (*PIXELS, channels)).astype(np.float32)
        corner = chance.random(array.shape) < 0.1
        array[corner] = chance.choice(CORNERS, corner.sum())
        return array

    return AcousticMaps(values(8, 0.2), values(1), values(1), values(2, 1e5))


def valid_maps(seed: int) -> AcousticMaps:
    return project(any_maps(seed))[0]


def total(absorption: np.ndarray, reflection: np.ndarray) -> float:
    return float((absorption.astype(np.float64) + reflection.astype(np.float64)).max())


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_projected_maps_obey_every_rule_and_stay_as_they_are(seed: int) -> None:
    maps = valid_maps(seed)
    for values in (maps.absorption, maps.reflection, maps.scattering):
        assert values.dtype == np.float32
        assert 0 <= values.min() <= values.max() <= 1
    assert np.isfinite(maps.impedance).all()
    assert maps.impedance[..., 0].min() >= 0
    assert total(maps.absorption, maps.reflection) <= 1
    again, violations = project(maps)
    assert violations == inspect(maps)
    assert violations.pixels == 0
    np.testing.assert_array_equal(again.reflection, maps.reflection)


def test_pixels_that_break_a_rule_are_counted_and_others_not_moved() -> None:
    maps = AcousticMaps(*(np.full((10, 10, channels), 0.25, np.float32) for channels in (8, 1, 1, 2)))
    maps.absorption[0, 0] = np.nan
    maps.absorption[1, :2, 3] = -0.5
    maps.absorption[2, :3, 5] = 0.9  # with a reflection of 0.25
    maps.reflection[3, :4] = 1.5  # exceeds 1, and what absorption leaves
    maps.scattering[4, :5] = -0.5
    maps.impedance[5, :6, 0] = -1
    maps.impedance[5, 0, 1] = np.inf
    moved, violations = project(maps)
    assert (violations.not_finite, violations.absorption, violations.reflection) == (2, 2, 4)
    assert (violations.scattering, violations.energy, violations.impedance) == (5, 7, 6)
    assert violations.pixels == 1 + 2 + 3 + 4 + 5 + 6
    np.testing.assert_allclose(moved.reflection[2, :3, 0], 0.1, atol=1e-6)
    np.testing.assert_array_equal(moved.impedance[5, 0], [1, 0])
    np.testing.assert_array_equal(moved.absorption[0, 0], 0)
    for before, after in ((maps.absorption, moved.absorption), (maps.impedance, moved.impedance)):
        np.testing.assert_array_equal(before[6:], after[6:])


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_energy_is_conserved_in_float16(seed: int) -> None:
    maps = valid_maps(seed)
    half = to_float16(maps)
    assert inspect(half).pixels == 0
    assert total(half.absorption, half.reflection) <= 1
    assert np.isfinite(half.impedance).all()
    assert half.absorption.dtype == half.impedance.dtype == np.float16
    np.testing.assert_allclose(half.absorption, maps.absorption, rtol=5e-4, atol=1e-7)
    np.testing.assert_allclose(half.scattering, maps.scattering, rtol=5e-4, atol=1e-7)
    # what absorption was rounded up by is missing from reflection
    np.testing.assert_allclose(half.reflection, maps.reflection, rtol=1e-3, atol=5e-4)


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_energy_is_conserved_in_eight_bits(seed: int) -> None:
    maps = valid_maps(seed)
    codes = encode_sqrt(maps.absorption)
    reflected = encode_reflection(maps.reflection, codes)
    absorption, reflection = decode_sqrt(codes), decode_sqrt(reflected)
    assert codes.dtype == reflected.dtype == np.uint8
    assert total(absorption, reflection) <= 1 + 1e-7  # decoded values are themselves rounded
    assert (np.abs(absorption - maps.absorption) <= sqrt_error(maps.absorption) + 1e-6).all()
    loudest = maps.absorption.max(axis=-1, keepdims=True)
    lowered = maps.reflection - reflection
    assert lowered.min() >= -1e-6
    assert (lowered <= (2 * np.sqrt(maps.reflection) + np.sqrt(loudest)) / 255 + 1 / (4 * 255**2) + 1e-6).all()


def test_every_code_comes_back() -> None:
    codes = np.arange(256, dtype=np.uint8)
    values = decode_sqrt(codes)
    np.testing.assert_array_equal(encode_sqrt(values), codes)
    np.testing.assert_array_equal(encode_reflection(values[:, None], np.zeros((256, 8), np.uint8))[:, 0], codes)
    assert (values[0], values[-1]) == (0, 1)


def test_small_absorption_keeps_its_proportion() -> None:
    values = np.linspace(0, 1, 100_001, dtype=np.float32)
    error = np.abs(decode_sqrt(encode_sqrt(values)) - values)
    assert (error <= sqrt_error(values) + 1e-7).all()
    assert error.max() <= 0.0039 + 3e-5
    for absorption, relative in ((0.01, 0.040), (0.02, 0.028), (0.05, 0.0176)):
        near = np.abs(values - absorption) < 0.1 * absorption
        assert (error[near] / values[near]).max() < relative * 1.1
