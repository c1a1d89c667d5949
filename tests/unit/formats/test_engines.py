"""The dictionaries that engines take: Resonance Audio, Meta XR, RealityKit, OpenXR, Wwise, Habitat."""

import json
from dataclasses import replace

import numpy as np
import pytest

from service.models.acoustic_maps.formats import habitat, meta_xr, openxr, realitykit, resonance_audio, wwise
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import to_json
from service.models.acoustic_maps.formats.shoebox import WALLS, shoebox
from tests.node import install
from tests.unit.acoustic_scene import DIMS, RT60, furnished_box

SCENE = furnished_box()
CARPET = SCENE.materials[1]
BANDS = [125, 250, 500, 1000, 2000, 4000, 8000, 16000]


def test_the_shoebox_is_the_room_with_a_material_on_each_wall() -> None:
    box = shoebox(SCENE)
    np.testing.assert_allclose(box.dims, [DIMS[0], DIMS[2], DIMS[1]], atol=1e-5)
    np.testing.assert_allclose(box.centre, [0, DIMS[2] / 2 - 1.6, 0], atol=1e-5)
    np.testing.assert_allclose(box.rotation, np.eye(3), atol=1e-6)
    owners = dict(zip(WALLS, (0, 0, 1, 2, 3, 0), strict=True))  # the far wall is in front
    for index, wall in enumerate(WALLS):
        item = SCENE.materials[owners[wall]]
        np.testing.assert_allclose(box.absorption[index], item.absorption, atol=1e-6)
        assert box.scattering[index] == pytest.approx(item.scattering)
    assert box.surface_m2 == pytest.approx(94.0 - 5.4, rel=0.01)


def test_the_shoebox_turns_with_walls_that_stand_askew() -> None:
    angle = np.deg2rad(20)
    up = np.asarray(SCENE.room.up, np.float64)
    skew = np.cross(np.eye(3), up)
    turned = np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    planes = [np.append(turned @ surface.plane[:3], surface.plane[3]) for surface in SCENE.surfaces]
    scene = replace(
        SCENE,
        positions=(SCENE.positions @ turned.T).astype(np.float32),
        surfaces=tuple(replace(old, plane=plane) for old, plane in zip(SCENE.surfaces, planes, strict=True)),
    )
    box = shoebox(scene)
    np.testing.assert_allclose(box.dims, [DIMS[0], DIMS[2], DIMS[1]], atol=1e-4)
    assert abs(np.rad2deg(np.arctan2(box.rotation[0, 2], box.rotation[0, 0]))) == pytest.approx(20, abs=1e-3)
    np.testing.assert_allclose(box.absorption, shoebox(SCENE).absorption, atol=1e-6)


def test_resonance_takes_the_nearest_name_or_none() -> None:
    document = json.loads(to_json(resonance_audio.document(SCENE)))
    assert document["dimensions"] == pytest.approx({"width": 5, "height": 2.7, "depth": 4}, abs=1e-4)
    assert set(document["materials"]) == {"left", "right", "front", "back", "down", "up"}
    assert document["materials"]["front"] == "transparent"
    assert document["walls"]["front"] == {"name": "transparent", "enum": 0, "nearest": "transparent", "distance": 0}
    ceiling = document["walls"]["up"]
    assert ceiling["distance"] > 0.15
    assert (ceiling["name"], ceiling["enum"]) == ("uniform", 23)
    assert document["rt60_9"] == pytest.approx([0.9, 0.9, *RT60[:7].tolist()])
    for values in resonance_audio.MATERIALS.values():  # two differ below our bands alone
        found = resonance_audio.material([*values[2:], 0.5])
        assert found["distance"] == 0
        assert resonance_audio.MATERIALS[found["name"]][2:] == values[2:]


def test_resonance_is_given_no_time_that_is_not_known_or_not_played() -> None:
    assert resonance_audio.document(furnished_box(rt60=None))["rt60_9"] is None
    endless = furnished_box(rt60=np.array([np.nan, 12, *[0.5] * 6], np.float32))
    assert resonance_audio.document(endless)["rt60_9"] == [3, 3, 3, 3, 0.5, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.node
def test_resonance_knows_these_materials_by_these_names(node: None) -> None:
    theirs = install.run("resonance.cjs")
    assert list(theirs) == [*resonance_audio.MATERIALS, resonance_audio.UNIFORM]
    assert {name: tuple(theirs[name]) for name in resonance_audio.MATERIALS} == resonance_audio.MATERIALS


def test_meta_takes_points_and_never_more_transmission_than_absorption() -> None:
    document = json.loads(to_json(meta_xr.document(SCENE)))
    carpet = document["materials"][1]
    assert [point["frequency"] for point in carpet["absorption"]["points"]] == BANDS
    assert [point["data"] for point in carpet["absorption"]["points"]] == pytest.approx(CARPET.absorption.tolist())
    assert {point["data"] for point in carpet["scattering"]["points"]} == {0.3}
    for item in document["materials"]:
        for a, t in zip(item["absorption"]["points"], item["transmission"]["points"], strict=True):
            assert 1 - a["data"] + t["data"] <= 1
    reflection = document["shoebox"]["reflection"]
    assert reflection["front"] == [0, 0, 0, 0]
    assert reflection["down"][0] == pytest.approx(1 - CARPET.absorption[0])
    assert all(len(values) == 4 for values in reflection.values())


def test_realitykit_takes_frequencies_or_ten_octaves() -> None:
    carpet = json.loads(to_json(realitykit.document(SCENE)))["materials"][material_names(SCENE)[1]]
    assert list(carpet["absorption"]) == [str(band) for band in BANDS]
    assert list(carpet["absorption"].values()) == pytest.approx(CARPET.absorption.tolist())
    assert carpet["absorption_octaves"] == pytest.approx([0.02, 0.02, *CARPET.absorption.tolist()])
    assert carpet["scattering_octaves"] == [0.3] * 10


def test_openxr_coefficients_lie_between_0_and_1_and_are_neither() -> None:
    for item in openxr.document(SCENE)["materials"]:
        assert item["bandCount"] == len(item["bandFrequencies"]) == 8
        for key in ("bandAbsorptions", "bandScatterings", "bandTransmissions"):
            values = np.array(item[key], np.float32)
            assert len(values) == 8
            assert ((values > 0) & (values < 1)).all()


def test_wwise_takes_percent_of_four_bands() -> None:
    textures = wwise.document(SCENE)["textures"]
    window = textures[material_names(SCENE)[3]]
    assert window == pytest.approx(
        {
            "AbsorptionLow": 100,
            "AbsorptionMidLow": 100,
            "AbsorptionMidHigh": 100,
            "AbsorptionHigh": 100,
            "Scattering": 0,
        }
    )
    carpet = textures[material_names(SCENE)[1]]
    # {125, half 250}, {half 250, 500, half 1k}, {half 1k, 2k, half 4k}, {half 4k, 8k, 16k}
    assert carpet["AbsorptionLow"] == pytest.approx(100 * (0.02 + 0.06 / 2) / 1.5, rel=1e-4)
    assert carpet["AbsorptionMidLow"] == pytest.approx(100 * (0.06 / 2 + 0.14 + 0.37 / 2) / 2, rel=1e-4)


def test_habitat_finds_each_material_by_its_name_in_the_mesh() -> None:
    materials = json.loads(to_json(habitat.document(SCENE)))["materials"]
    for category, wanted in [*zip(material_names(SCENE), range(5), strict=True), ("default", 0)]:
        # as RLRAudioPropagation.h says: the most labels that are part of the category
        matches = [sum(label in category for label in item["labels"]) for item in materials]
        assert matches.count(max(matches)) == 1
        assert matches.index(max(matches)) == wanted
    flat = materials[1]["absorption"]
    assert flat[::2] == BANDS
    assert flat[1::2] == pytest.approx(CARPET.absorption.tolist())
