"""The engine pack: what is in it, and that it does not change."""

import io
import json
import zipfile

import numpy as np
import soundfile
import trimesh

from service.models.acoustic_maps.formats.engine_pack import engine_pack, steam_audio_pack, unity_pack, zip_files
from tests.unit.acoustic_scene import furnished_box

SCENE = furnished_box()


def files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_every_format_is_in_the_pack_and_can_be_read() -> None:
    pack = files(engine_pack(SCENE))
    assert len([name for name in pack if name.startswith("unity/")]) == 5
    for name, data in pack.items():
        if name.endswith(".json"):
            assert json.loads(data), name
    mesh = trimesh.load(io.BytesIO(pack["scene.glb"]), file_type="glb")
    assert len(mesh.geometry) == 5
    samples, rate = soundfile.read(io.BytesIO(pack["room_ir.wav"]))
    assert rate == 48_000
    assert np.abs(samples).max() > 0
    text = pack["README.txt"].decode()
    assert "the wall behind the camera was not seen" in text
    for name in pack:
        assert name == "README.txt" or name.split("/")[0] in text


def test_the_same_scene_gives_the_same_bytes() -> None:
    assert engine_pack(SCENE) == engine_pack(furnished_box())


def test_a_room_without_a_decay_has_no_impulse_response() -> None:
    pack = files(engine_pack(furnished_box(rt60=None)))
    assert "room_ir.wav" not in pack
    assert "room_ir.wav" not in pack["README.txt"].decode()


def test_the_mapping_reaches_every_file_of_steam_audio() -> None:
    overlap, preset = files(engine_pack(SCENE)), files(engine_pack(SCENE, "preset250_1k_4k"))
    changed = {name for name in overlap if overlap[name] != preset[name]}
    assert changed >= {"scene.mtl", "steam_audio.json", "steam_audio.bin", "unity/m001_carpet.asset"}
    assert "scene.glb" not in changed
    parts = files(steam_audio_pack(SCENE, "preset250_1k_4k"))
    assert parts == {name: preset[name] for name in ("scene.obj", "scene.mtl", "steam_audio.json", "steam_audio.bin")}
    assert {f"unity/{name}" for name in files(unity_pack(SCENE))} == {n for n in overlap if n.startswith("unity/")}


def test_pictures_are_stored_as_they_are() -> None:
    with zipfile.ZipFile(io.BytesIO(zip_files([("a.png", b"0" * 100), ("a.json", b"0" * 100)]))) as archive:
        assert [info.compress_type for info in archive.infolist()] == [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
