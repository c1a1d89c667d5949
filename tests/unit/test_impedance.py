"""Impedance to absorption and back."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.acoustics.impedance import (
    IMPEDANCE_OF_MAX,
    MAX_RANDOM_ABSORPTION,
    agrees,
    impedance_from_normal,
    impedance_from_random,
    normal_absorption,
    random_absorption,
)
from tests.physics import REFERENCE

Branch = Literal["hard", "soft"]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(300)
passive = st.builds(complex, st.floats(0, 1e6), st.floats(-1e6, 1e6))


def by_quadrature(z: complex) -> float:
    """Paris' integral of alpha(theta) sin(2 theta), where alpha(theta) = 1 - |(z cos - 1) / (z cos + 1)|^2."""
    angles = (NODES + 1) * np.pi / 4
    reflected = (z * np.cos(angles) - 1) / (z * np.cos(angles) + 1)
    return float(((1 - np.abs(reflected) ** 2) * np.sin(2 * angles)) @ WEIGHTS * np.pi / 4)


@pytest.mark.parametrize("row", REFERENCE["impedance"], ids=lambda row: str(complex(*row["z"])))
def test_absorption_is_that_of_the_reference(row: dict[str, Any]) -> None:
    z = complex(*row["z"])
    assert float(normal_absorption(z)) == pytest.approx(row["alpha_normal"], abs=1e-12)
    assert float(random_absorption(z)) == pytest.approx(row["alpha_random_paris"], abs=1e-12)


@pytest.mark.parametrize(
    "z", [1e-3, 0.1, 0.199, 0.201, 0.21j, 0.05 + 0.15j, 0.01 + 0.21j, 0.5 + 1e-9j, 1 - 1e-5j, 2 + 1e-3j, 30 - 20j, 300j]
)
def test_the_closed_form_is_the_integral(z: complex) -> None:
    assert float(random_absorption(z)) == pytest.approx(by_quadrature(z), abs=1e-9)


def test_the_most_that_a_wall_absorbs() -> None:
    z = np.linspace(0.1, 10, 100_001)
    absorption = random_absorption(z)
    assert z[absorption.argmax()] == pytest.approx(IMPEDANCE_OF_MAX, abs=1e-3)
    assert absorption.max() == pytest.approx(MAX_RANDOM_ABSORPTION, abs=1e-6)
    assert pytest.approx(0.9512, abs=5e-5) == MAX_RANDOM_ABSORPTION


@given(passive)
def test_absorption_of_a_passive_wall_is_a_share(z: complex) -> None:
    for absorption in (normal_absorption(z), random_absorption(z)):
        assert 0 <= absorption <= 1
    assert float(random_absorption(z.conjugate())) == pytest.approx(float(random_absorption(z)), rel=1e-9, abs=1e-15)


def test_rigid_and_yielding_walls_absorb_nothing() -> None:
    z = np.array([0, np.inf, 1e300, complex(1, np.inf), 5j, -1e-12j])
    np.testing.assert_array_equal(normal_absorption(z), 0)
    np.testing.assert_array_equal(random_absorption(z), 0)


@pytest.mark.parametrize("row", REFERENCE["normal_to_real"], ids=lambda row: str(row["alpha"]))
def test_normal_absorption_has_two_real_impedances(row: dict[str, float]) -> None:
    assert float(impedance_from_normal(row["alpha"])) == pytest.approx(row["z_hard"], rel=1e-9)
    assert float(impedance_from_normal(row["alpha"], "soft")) == pytest.approx(row["z_soft"], rel=1e-9)


@pytest.mark.parametrize("branch", ["hard", "soft"])
@given(alpha=st.floats(1e-6, 0.95))
def test_inverses_give_back_the_absorption(branch: Branch, alpha: float) -> None:
    hard = branch == "hard"
    z = impedance_from_random(alpha, branch)
    assert (z >= IMPEDANCE_OF_MAX) == hard
    assert float(random_absorption(z)) == pytest.approx(alpha, abs=1e-9)
    z = impedance_from_normal(alpha, branch)
    assert (z >= 1) == hard
    assert float(normal_absorption(z)) == pytest.approx(alpha, abs=1e-9)


def test_absorption_that_no_wall_has_is_that_of_the_maximum() -> None:
    np.testing.assert_array_equal(impedance_from_random([[0.9513, 1.0]]), IMPEDANCE_OF_MAX)


def test_no_absorption_is_an_infinite_or_no_impedance() -> None:
    assert impedance_from_random(0.0) == impedance_from_normal(0.0) == np.inf
    assert impedance_from_random(0.0, "soft") == impedance_from_normal(0.0, "soft") == 0


def test_disagreement_with_the_absorption_is_seen() -> None:
    bands = np.array([np.full(8, 0.05), np.full(8, 0.5)])
    np.testing.assert_array_equal(agrees([150, 150], bands), [True, False])


@pytest.mark.parametrize("z", [-0.1, complex("nan"), complex(1, float("nan"))])
def test_walls_that_give_energy_are_refused(z: complex) -> None:
    for absorption in (normal_absorption, random_absorption):
        with pytest.raises(ValueError, match="passive"):
            absorption(z)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_absorption_out_of_range_is_refused(alpha: float) -> None:
    for inverse in (impedance_from_normal, impedance_from_random):
        with pytest.raises(ValueError, match="0 to 1"):
            inverse(alpha)
