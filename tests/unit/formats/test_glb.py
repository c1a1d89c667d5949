"""Binary glTF, as trimesh, pygltflib, Khronos' validator and three.js read it."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
import pytest
import trimesh

from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.glb import glb
from tests.node import install
from tests.unit.acoustic_scene import RT60, furnished_box

SCENE = furnished_box()


def read(scene: AcousticScene) -> trimesh.Scene:
    return trimesh.load(io.BytesIO(glb(scene)), file_type="glb")


def gltf(scene: AcousticScene) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(glb(scene))


def test_trimesh_reads_a_closed_room_of_the_right_size() -> None:
    parts = read(SCENE)
    assert len(parts.geometry) == len(SCENE.materials)
    mesh = parts.to_mesh()
    assert mesh.area == pytest.approx(SCENE.room.surface_m2, rel=1e-5)
    assert mesh.volume == pytest.approx(-SCENE.room.volume_m3, rel=1e-5)  # fronts are inside
    np.testing.assert_allclose(mesh.bounds, [[-2.5, -1.6, -2.0], [2.5, 1.1, 2.0]], atol=1e-5)
    mesh.merge_vertices(merge_norm=True, merge_tex=True)
    assert mesh.is_watertight


def test_every_vertex_has_the_acoustics_of_its_material() -> None:
    for part, item in zip(read(SCENE).geometry.values(), SCENE.materials, strict=True):
        attributes = part.vertex_attributes
        count = len(part.vertices)
        np.testing.assert_array_equal(attributes["_ABSORPTION_0"], np.tile(item.absorption[:4], (count, 1)))
        np.testing.assert_array_equal(attributes["_ABSORPTION_1"], np.tile(item.absorption[4:], (count, 1)))
        np.testing.assert_array_equal(attributes["_SCATTERING"].ravel(), np.full(count, np.float32(item.scattering)))


def test_pygltflib_reads_materials_cameras_and_reverberation() -> None:
    document = gltf(SCENE)
    assert document.asset.version == "2.0"
    assert set(document.extensionsUsed) == {"AURICLE_acoustic_material", "MPEG_audio_spatial"}
    assert not document.extensionsRequired
    for found, item in zip(document.materials, SCENE.materials, strict=True):
        acoustic = found.extras["acoustic"]
        assert acoustic == found.extensions["AURICLE_acoustic_material"]
        assert acoustic["label"] == item.label
        assert acoustic["absorption"] == pytest.approx(item.absorption.tolist())
        assert max(acoustic["absorption"]) + acoustic["reflection"] <= 1
        assert acoustic["transmission_source"] == "assumed"
    assert document.scenes[0].extras["acoustic"]["room"]["volume_m3"] == pytest.approx(SCENE.room.volume_m3)
    assert len(document.cameras) == 2
    assert document.cameras[0].perspective.yfov == pytest.approx(2 * np.arctan(84 / 120), rel=1e-5)
    assert document.cameras[0].perspective.aspectRatio == pytest.approx((112 / 112) / (84 / 120), rel=1e-5)
    (reverb,) = document.extensions["MPEG_audio_spatial"]["reverbs"]
    assert [item["frequency"] for item in reverb["properties"]] == [125, 250, 500, 1000, 2000, 4000, 8000, 16000]
    assert [item["RT60"] for item in reverb["properties"]] == pytest.approx(RT60.tolist())
    assert reverb["predelay"] == pytest.approx(4 * SCENE.room.volume_m3 / SCENE.room.surface_m2 / 343, rel=1e-5)
    # 4 / A of the emitted energy, less what decays within the predelay
    taken = 0.16111382574885452 * SCENE.room.volume_m3 / 0.55
    wanted = 10 * np.log10(4 / taken) - 60 * reverb["predelay"] / 0.55
    assert reverb["properties"][3]["DSR"] == pytest.approx(wanted, abs=1e-3)


def test_bands_without_a_decay_are_left_out_of_the_reverberation() -> None:
    room = replace(SCENE.room, rt60_by_method_s={"eyring": np.array([np.nan, *RT60[1:]], np.float32)})
    (reverb,) = gltf(replace(SCENE, room=room)).extensions["MPEG_audio_spatial"]["reverbs"]
    assert [item["frequency"] for item in reverb["properties"]] == [250, 500, 1000, 2000, 4000, 8000, 16000]
    for unknown in (furnished_box(rt60=None), replace(SCENE, room=replace(SCENE.room, volume_m3=None))):
        document = gltf(unknown)
        assert not document.extensions
        assert document.extensionsUsed == ["AURICLE_acoustic_material"]


def test_a_material_without_triangles_keeps_its_number() -> None:
    scene = replace(SCENE, materials=(*SCENE.materials[:1], SCENE.materials[0], *SCENE.materials[1:]))
    scene = replace(scene, triangle_material=np.where(scene.triangle_material > 0, scene.triangle_material + 1, 0))
    document = gltf(scene)
    assert len(document.materials) == 6
    assert [primitive.material for primitive in document.meshes[0].primitives] == [0, 2, 3, 4, 5]


def test_a_thousand_triangles_are_small_and_quick() -> None:
    scene = furnished_box(splits=6)
    assert 700 < len(scene.triangles) <= 1000
    assert len(glb(scene)) < 200_000
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        glb(scene)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.01


def test_more_vertices_than_sixteen_bits_count() -> None:
    scene = furnished_box(splits=75)
    scene = replace(scene, triangle_material=np.zeros_like(scene.triangle_material))
    mesh = read(scene).to_mesh()
    assert len(mesh.vertices) > 1 << 16
    assert mesh.volume == pytest.approx(-SCENE.room.volume_m3, rel=1e-4)


@pytest.mark.node
@pytest.mark.parametrize(
    "scene", [SCENE, furnished_box(rt60=None), furnished_box(splits=6)], ids=["box", "dry", "fine"]
)
def test_the_validator_of_khronos_finds_no_error(scene: AcousticScene, tmp_path: Path, node: None) -> None:
    (tmp_path / "scene.glb").write_bytes(glb(scene))
    report = install.run("validate.mjs", str(tmp_path / "scene.glb"))
    assert report["issues"]["numErrors"] == 0, report["issues"]["messages"]
    assert report["issues"]["numWarnings"] == 0, report["issues"]["messages"]
    assert {message["code"] for message in report["issues"]["messages"]} <= {"UNSUPPORTED_EXTENSION"}
    assert report["info"]["totalTriangleCount"] == len(scene.triangles)


@pytest.mark.node
def test_three_js_shows_it_with_all_its_acoustics(tmp_path: Path, node: None) -> None:
    (tmp_path / "scene.glb").write_bytes(glb(SCENE))
    loaded: dict[str, Any] = install.run("load.mjs", str(tmp_path / "scene.glb"))
    assert sum(mesh["triangles"] for mesh in loaded["meshes"]) == len(SCENE.triangles)
    for mesh, item in zip(loaded["meshes"], SCENE.materials, strict=True):
        assert mesh["acoustic"]["absorption"] == pytest.approx(item.absorption.tolist())
        values = np.array(mesh["attributes"]["_absorption_0"]).reshape(-1, 4)
        assert values == pytest.approx(np.tile(item.absorption[:4], (len(values), 1)))
        assert len(mesh["attributes"]["_scattering"]) == len(values)
    first, second = loaded["cameras"]
    assert first["position"] == pytest.approx([0, 0, 0])
    assert first["direction"] == pytest.approx([0, -np.sin(np.deg2rad(15)), -np.cos(np.deg2rad(15))])
    assert second["direction"] == pytest.approx([1, 0, 0], abs=1e-6)
    assert first["fov"] == pytest.approx(np.rad2deg(2 * np.arctan(84 / 120)), rel=1e-5)
    assert len(loaded["reverbs"][0]["properties"]) == 8
    assert loaded["scene"]["acoustic"]["room"]["dims_m"] == [5, 4, 2.7]
