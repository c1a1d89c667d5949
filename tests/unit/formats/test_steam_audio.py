"""Steam Audio's files, read back: the binary mesh, OBJ with MTL, and Unity's assets."""

import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from service.models.acoustic_maps.formats import steam_audio, unity, wavefront
from service.models.acoustic_maps.formats.names import material_names
from tests.unit.acoustic_scene import furnished_box

SCENE = furnished_box()
LOW = [0.314656, 0.314656, 0.314656, 0.056031, 0, 0, 0, 0]


def expected(mapping: steam_audio.Mapping = "overlap") -> NDArray[np.float32]:
    return np.stack([steam_audio.coefficients(item, mapping) for item in SCENE.materials])


def test_bands_are_means_of_what_they_overlap_or_what_presets_are_taken_from() -> None:
    carpet = SCENE.materials[1]
    overlap = steam_audio.coefficients(carpet)
    assert overlap[0] == pytest.approx(np.dot(LOW, carpet.absorption), abs=1e-6)
    assert steam_audio.coefficients(carpet, "preset250_1k_4k")[:3] == pytest.approx([0.06, 0.37, 0.65])
    assert overlap[3:] == pytest.approx([0.3, 0, 0, 0])


def test_the_binary_file_is_what_the_layout_says() -> None:
    data = steam_audio.binary(SCENE)
    magic, version, vertices, triangles, materials = struct.unpack_from("<8s4i", data)
    assert (magic, version) == (b"AURSTEAM", 1)
    assert (vertices, triangles, materials) == (48, 24, 5)
    offset = 32
    positions = np.frombuffer(data, "<f4", 3 * vertices, offset).reshape(-1, 3)
    offset += positions.nbytes
    indices = np.frombuffer(data, "<i4", 3 * triangles, offset).reshape(-1, 3)
    offset += indices.nbytes
    owners = np.frombuffer(data, "<i4", triangles, offset)
    offset += owners.nbytes
    coefficients = np.frombuffer(data, "<f4", 7 * materials, offset).reshape(-1, 7)
    assert offset + coefficients.nbytes == len(data)
    np.testing.assert_allclose([positions.min(0), positions.max(0)], [[-2.5, -1.6, -2], [2.5, 1.1, 2]], atol=1e-5)
    corners = positions[indices].astype(np.float64)
    assert (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6 == pytest.approx(-52.785, rel=1e-5)
    np.testing.assert_array_equal(owners, SCENE.triangle_material)
    np.testing.assert_array_equal(coefficients, expected())


def test_the_list_of_materials_is_json() -> None:
    listed = json.loads(steam_audio.materials_json(SCENE, "preset250_1k_4k"))
    assert listed["mapping"] == "preset250_1k_4k"
    for item, wanted in zip(listed["materials"], expected("preset250_1k_4k"), strict=True):
        values = [*item["absorption"], item["scattering"], *item["transmission"]]
        assert values == pytest.approx(wanted.tolist(), abs=1e-6)


@pytest.mark.parametrize("mapping", ["overlap", "preset250_1k_4k"])
def test_absorption_scattering_and_transmission_survive_the_material_library(mapping: steam_audio.Mapping) -> None:
    blocks = re.split(r"newmtl (\S+)", wavefront.mtl(SCENE, mapping).decode())[1:]
    assert blocks[::2] == material_names(SCENE)
    for text, wanted in zip(blocks[1::2], expected(mapping), strict=True):
        kd, ks, tf = (np.array(re.search(rf"{key} (.*)", text)[1].split(), float) for key in ("Kd", "Ks", "Tf"))
        assert 1 - kd - ks == pytest.approx(wanted[:3], abs=1e-6)
        assert kd / (kd + ks) == pytest.approx(np.full(3, wanted[3]), abs=1e-6)
        assert tf == pytest.approx(wanted[4:], abs=1e-6)


def test_trimesh_reads_the_object_with_its_materials(tmp_path: Path) -> None:
    (tmp_path / "scene.obj").write_bytes(wavefront.obj(SCENE))
    (tmp_path / "scene.mtl").write_bytes(wavefront.mtl(SCENE))
    parts = trimesh.load(tmp_path / "scene.obj", split_objects=False, group_material=True)
    mesh = parts.to_mesh()
    assert mesh.area == pytest.approx(SCENE.room.surface_m2, rel=1e-5)
    assert mesh.volume == pytest.approx(-SCENE.room.volume_m3, rel=1e-5)
    found = {part.visual.material.name: part for part in parts.geometry.values()}
    assert sorted(found) == material_names(SCENE)
    for name, item in zip(material_names(SCENE), SCENE.materials, strict=True):
        assert found[name].area == pytest.approx(item.area_m2, rel=1e-5)


def test_assets_are_called_as_the_materials_in_them() -> None:
    files = unity.assets(SCENE)
    assert len(files) == len(SCENE.materials)
    for (file, data), wanted in zip(files.items(), expected(), strict=True):
        lines = data.decode().splitlines()
        assert lines[:4] == [
            "%YAML 1.1",
            "%TAG !u! tag:unity3d.com,2011:",
            "--- !u!114 &11400000",
            "MonoBehaviour:",
        ]
        fields = dict(line.strip().split(":", 1) for line in lines[4:])
        assert f"{fields['m_Name'].strip()}.asset" == file
        assert "guid: 1cb82a87a4954a947923856a12b49b38" in fields["m_Script"]
        keys = [key for key in fields if not key.startswith("m_")]
        assert keys == [
            *("lowFreqAbsorption", "midFreqAbsorption", "highFreqAbsorption", "scattering"),
            *("lowFreqTransmission", "midFreqTransmission", "highFreqTransmission"),
        ]
        assert [float(fields[key]) for key in keys] == pytest.approx(wanted.tolist(), abs=1e-6)


def test_names_are_plain_and_none_is_part_of_another() -> None:
    labels = ["carpet", "carpet", "../../etc/passwd", "Änderung: 50 %\n", "", "x" * 200]
    scene = replace(SCENE, materials=tuple(replace(SCENE.materials[0], label=label) for label in labels))
    names = material_names(scene)
    assert all(re.fullmatch(r"m\d{3}_[a-z0-9_]{1,40}", name) for name in names)
    assert not [(a, b) for a in names for b in names if a != b and a in b]
