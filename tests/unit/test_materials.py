"""Named materials against pyroomacoustics' own table, and groups of samples."""

import json
from importlib import resources

import numpy as np
import pytest
from pyroomacoustics.parameters import materials_data

from service.acoustics.materials import LIKE, extend, group, named_materials
from service.acoustics.samples import ABSORPTION, PROPERTIES, SCATTERING
from tests.rooms import ABSORPTION as ALPHA
from tests.rooms import BRICK, CARPET, CURTAIN, PLASTER, WOOD
from tests.rooms import SCATTERING as SCATTER


def test_the_database_is_that_of_pyroomacoustics() -> None:
    named = named_materials()
    assert len(named.names) == 90
    for family, entries in materials_data["absorption"].items():
        for name, entry in entries.items():
            row = named.names.index(name)
            coefficients = np.clip(entry["coeffs"], 0, 1)
            np.testing.assert_allclose(named.absorption[row, : len(coefficients)], coefficients)
            assert (named.absorption[row, len(coefficients) :] == coefficients[-1]).all()
            assert (named.groups[row], named.descriptions[row]) == (family, entry["description"])


def test_scatterers_are_kept_beside_the_absorbers() -> None:
    table = json.loads(resources.files("service.acoustics").joinpath("materials.json").read_text(encoding="utf-8"))
    expected = {
        name: entry["coeffs"] for family in materials_data["scattering"].values() for name, entry in family.items()
    }
    assert {name: entry["coefficients"] for name, entry in table["scattering"].items()} == expected
    assert len(expected) == 7
    assert "MIT" in table["source"]


def test_every_material_is_its_own_nearest() -> None:
    named = named_materials()
    for absorption in named.absorption:
        name, distance = named.nearest(absorption)
        assert distance == pytest.approx(0, abs=1e-9)
        np.testing.assert_array_equal(named.absorption[named.names.index(name)], absorption)


def test_distance_is_the_root_mean_square_of_the_roots() -> None:
    named = named_materials()
    # nothing is nearer to total absorption than what has it in nearly all bands
    name, distance = named.nearest(np.full(8, 1.0))
    row = named.absorption[named.names.index(name)]
    assert distance == pytest.approx(np.sqrt(((1 - np.sqrt(row)) ** 2).mean()))
    assert distance < 0.1


def test_bands_that_the_source_lacks_repeat_its_last() -> None:
    assert extend([0.1, 0.2, 0.3, 0.4, 0.5, 1.2]).tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 1, 1, 1]


def samples_of(numbers: np.ndarray, noise: float, seed: int = 0) -> np.ndarray:
    chance = np.random.default_rng(seed)
    properties = np.zeros((len(numbers), PROPERTIES))
    roots = np.sqrt(ALPHA[numbers]) + noise * chance.standard_normal((len(numbers), 8))
    properties[:, ABSORPTION] = roots.clip(0, 1) ** 2
    properties[:, SCATTERING] = SCATTER[numbers]
    return properties


@pytest.mark.parametrize("noise", [0, 0.03])
def test_samples_of_five_materials_form_five_groups(noise: float) -> None:
    truth = np.repeat([PLASTER, CARPET, WOOD, CURTAIN, BRICK], [900, 500, 300, 200, 100])
    found = group(samples_of(truth, noise), np.ones(len(truth)))
    assert found.max() == 4
    # the commonest first, which is how the truth is ordered here
    assert (found == np.repeat(np.arange(5), [900, 500, 300, 200, 100])).mean() > 0.98


def test_the_same_samples_always_form_the_same_groups() -> None:
    properties = samples_of(np.arange(2000) % 5, 0.1)
    weights = np.linspace(0.5, 2, 2000)
    np.testing.assert_array_equal(group(properties, weights), group(properties, weights))


def test_what_is_alike_is_one_material_and_traces_are_none() -> None:
    properties = samples_of(np.zeros(1000, int), 0)
    properties[:500, ABSORPTION] = (np.sqrt(ALPHA[PLASTER]) + 0.3 * LIKE) ** 2
    properties[-5:, ABSORPTION] = 0.9
    assert group(properties, np.ones(1000)).max() == 0


def test_one_sample_is_a_material() -> None:
    assert group(samples_of(np.array([WOOD]), 0), np.ones(1)).tolist() == [0]
