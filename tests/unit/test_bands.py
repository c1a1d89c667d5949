"""Resampling of spectra to the bands of engines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.acoustics.bands import BANDS_HZ, SCHEMES, octave_edges, resample
from tests.physics import REFERENCE

spectra = arrays(np.float64, 8, elements=st.floats(0, 1))
SPECTRUM = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


def test_bands_are_octaves() -> None:
    np.testing.assert_allclose(octave_edges(), REFERENCE["band_edges_hz"], atol=1e-4)


@pytest.mark.parametrize("scheme", ["steam3", "meta4"])
def test_weights_are_those_of_the_reference(scheme: str) -> None:
    np.testing.assert_allclose(SCHEMES[scheme].weights, REFERENCE["weights"][scheme], atol=1e-6)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("octave8", SPECTRUM),
        ("preset250_1k_4k", [0.2, 0.4, 0.6]),
        ("steam11", [0.1, 0.1, 0.1, *SPECTRUM]),
        ("resonance9", [0.1, 0.1, *SPECTRUM[:7]]),
        ("realitykit10", [0.1, 0.1, *SPECTRUM]),
        ("wwise4", [0.4 / 3, 0.3, 0.5, 1.8 / 2.5]),
        ("nrc", [0.35]),
        ("mid", [0.4]),
        ("broadband", [0.45]),
    ],
)
def test_each_scheme_takes_the_bands_that_it_covers(scheme: str, expected: list[float]) -> None:
    np.testing.assert_allclose(resample(SPECTRUM, scheme), expected, rtol=1e-12)


@given(first=spectra, second=spectra, constant=st.floats(0, 1))
def test_resampling_is_a_mean(first: np.ndarray, second: np.ndarray, constant: float) -> None:
    for name, scheme in SCHEMES.items():
        result = resample(first, name)
        assert result.shape == (len(scheme.edges_hz),)
        assert first.min() - 1e-12 <= result.min() <= result.max() <= first.max() + 1e-12
        np.testing.assert_allclose(resample(np.full(8, constant), name), constant, atol=1e-12)
        np.testing.assert_allclose(resample(first + second, name), result + resample(second, name), atol=1e-12)


def test_leading_axes_are_kept() -> None:
    assert resample(np.ones((2, 5, 8)), "steam3").shape == (2, 5, 3)


def test_a_band_that_is_unknown_spoils_only_what_it_is_part_of() -> None:
    times = np.where(np.array(BANDS_HZ) == 16000, np.nan, 1.0)
    np.testing.assert_array_equal(np.isnan(resample(times, "steam3")), [False, False, True])
    assert np.isfinite(resample(times, "resonance9")).all()


def test_unknown_schemes_and_other_bands_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no bands are called 'steam4'; there are octave8, steam3"):
        resample(SPECTRUM, "steam4")
    with pytest.raises(ValueError, match="8 bands"):
        resample(SPECTRUM[:7], "steam3")
