"""The canonical scene: as JSON and as arrays, read back by readers that are not ours."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from service.models.acoustic_maps.formats.axes import FrameName
from service.models.acoustic_maps.formats.canonical import arrays, document, material, scene_json
from service.tensors import to_npz, to_safetensors
from tests.unit.acoustic_scene import AIR, RT60, furnished_box

SCENE = furnished_box()


@pytest.mark.parametrize(("frame", "unit", "scale"), [("gltf", "m", 1), ("unity", "m", 1), ("unreal", "cm", 100)])
def test_the_mesh_of_the_document_is_closed_and_has_the_room_in_it(frame: FrameName, unit: str, scale: int) -> None:
    scene = json.loads(scene_json(SCENE, frame))
    assert scene["schema"] == "acoustic-scene/1"
    assert (scene["frame"], scene["units"]["length"]) == (frame, unit)
    mesh = scene["mesh"]
    corners = np.array(mesh["positions"])[np.array(mesh["triangles"])]
    volume = abs((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum()) / 6
    assert volume == pytest.approx(SCENE.room.volume_m3 * scale**3, rel=1e-5)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    owned = np.bincount(mesh["triangle_material"], areas) / scale**2
    np.testing.assert_allclose(owned, [item["area_m2"] for item in scene["materials"]], rtol=1e-4)
    parts = np.bincount(mesh["triangle_surface"], areas) / scale**2
    np.testing.assert_allclose(parts, [item["area_m2"] for item in scene["surfaces"]], rtol=1e-4)


def test_the_document_says_everything_that_is_known() -> None:
    scene = json.loads(scene_json(SCENE, mesh=False))
    assert "mesh" not in scene
    assert scene["bands_hz"] == [125, 250, 500, 1000, 2000, 4000, 8000, 16000]
    room = scene["room"]
    assert room["rt60_s"] == pytest.approx(RT60.tolist())
    assert room["air"]["m_per_m"] == pytest.approx(AIR.tolist())
    assert room["up"] == [0, 1, 0]
    energy = np.exp(-6 * np.log(10) * np.array([0.05, 0.08]) / 0.55)  # at 1 kHz
    assert [room["c50_db"][3], room["c80_db"][3]] == pytest.approx(10 * np.log10(1 / energy - 1), rel=1e-4)
    assert room["d50"][3] == pytest.approx(1 - energy[0], rel=1e-4)
    assert room["critical_distance_m"][3] == pytest.approx(0.0566 * np.sqrt(SCENE.room.volume_m3 / 0.55), rel=1e-3)
    carpet = scene["materials"][1]
    assert carpet["label"] == "carpet"
    assert carpet["absorption"] == pytest.approx([0.02, 0.06, 0.14, 0.37, 0.6, 0.65, 0.65, 0.7])
    assert carpet["impedance"] == {"re": 12.5, "im": -3.25, "agrees": True}
    assert carpet["reflection_bands"] == pytest.approx([0.98, 0.94, 0.86, 0.63, 0.4, 0.35, 0.35, 0.3])
    assert set(carpet["presets"]) == {"steam", "meta", "resonance", "wwise", "openxr_bd"}
    assert [view["timestamp_s"] for view in scene["views"]] == [0.0, None]
    assert {surface["class"] for surface in scene["surfaces"]} == {"floor", "ceiling", "wall", "object"}
    assert scene["warnings"] == ["the wall behind the camera was not seen"]


def test_what_is_not_known_is_null() -> None:
    endless = replace(
        SCENE.room, rt60_by_method_s={"eyring": np.array([np.nan, *[0.5] * 7], np.float32)}, volume_m3=None, dims_m=None
    )
    room = json.loads(scene_json(replace(SCENE, room=endless)))["room"]
    assert room["rt60_s"][:2] == [None, 0.5]
    assert room["volume_m3"] is None
    assert room["c50_db"][0] is None
    assert room["critical_distance_m"] == [None] * 8
    assert room["dims_m"] is None
    assert document(furnished_box(rt60=None))["room"]["rt60_s"] is None


def test_absorption_and_reflection_still_leave_nothing_over_when_rounded() -> None:
    for alpha in np.random.default_rng(0).random(200).astype(np.float32):
        item = replace(SCENE.materials[0], absorption=np.full(8, alpha), reflection=1 - float(alpha))
        coded = material(item)
        assert max(coded["absorption"]) + coded["reflection"] <= 1
        assert coded["reflection"] == pytest.approx(1 - float(alpha), abs=2e-6)


def test_arrays_come_back_from_numpy_and_safetensors() -> None:
    wanted = arrays(SCENE, "unity")
    with np.load(io.BytesIO(to_npz(wanted)), allow_pickle=False) as archive:
        read = dict(archive)
    for tensors in (read, safetensors.numpy.load(to_safetensors(wanted))):
        assert tensors.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(tensors[name], array)
    assert read["positions"].shape == (48, 3)
    assert read["absorption"].shape == (5, 8)
    assert json.loads(read["scene"].tobytes())["frame"] == "unity"
    assert np.isnan(arrays(furnished_box(rt60=None))["rt60_s"]).all()
