"""Archives of files that belong together: those of one engine, or of all. The same scene gives the same bytes."""

import io
import zipfile
from collections.abc import Iterable, Mapping

from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats import (
    canonical,
    glb,
    habitat,
    impulse_response,
    meta_xr,
    openxr,
    realitykit,
    resonance_audio,
    steam_audio,
    unity,
    wavefront,
    wwise,
)
from service.models.acoustic_maps.formats.numbers import to_json

MEDIA_TYPE = "application/zip"

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can state
_LEVEL = 6
_STORED = (".png", ".zip")  # compressed already

_CONTENTS = {
    "scene.json": 'the canonical scene ("acoustic-scene/1"), y up, in metres',
    "scene.glb": "binary glTF: mesh, acoustic materials, cameras, reverberation",
    "scene.obj": "the mesh, and with scene.mtl its materials as Steam Audio codes them",
    "scene.mtl": "Kd = (1 - a) s, Ks = (1 - a) (1 - s), Tf = t in three bands",
    "steam_audio.json": "Steam Audio: materials",
    "steam_audio.bin": "Steam Audio: vertices, triangles and materials to map into memory for iplStaticMeshCreate",
    "unity/": "Steam Audio for Unity: a material asset each",
    "resonance_room.json": "Resonance Audio: shoebox, nearest named materials, decay times in nine bands",
    "meta_materials.json": "Meta XR Audio: material curves, and the shoebox",
    "realitykit_materials.json": "RealityKit: absorption and scattering by frequency",
    "openxr_materials.json": "OpenXR XR_BD_spatial_audio_rendering: arrays of its material structure",
    "wwise_textures.json": "Wwise: Acoustic Textures",
    "rlr_material_config.json": "Habitat and SoundSpaces 2: material database; categories are the groups of scene.obj",
    "room_ir.wav": "an impulse response without the direct sound, for a ConvolverNode with normalize = false",
}


def engine_pack(scene: AcousticScene, mapping: steam_audio.Mapping = "overlap") -> bytes:
    """Every format in one zip; room_ir.wav only where the room's reverberation is known."""
    files = {
        "scene.json": canonical.scene_json(scene),
        "scene.glb": glb.glb(scene),
        **_steam_audio(scene, mapping),
        **{f"unity/{name}": data for name, data in unity.assets(scene, mapping).items()},
        "resonance_room.json": to_json(resonance_audio.document(scene)),
        "meta_materials.json": to_json(meta_xr.document(scene)),
        "realitykit_materials.json": to_json(realitykit.document(scene)),
        "openxr_materials.json": to_json(openxr.document(scene)),
        "wwise_textures.json": to_json(wwise.document(scene)),
        "rlr_material_config.json": to_json(habitat.document(scene)),
    }
    if scene.room.rt60_s is not None:
        files["room_ir.wav"] = impulse_response.wav(scene)
    return zip_files({"README.txt": _readme(scene, files), **files}.items())


def steam_audio_pack(scene: AcousticScene, mapping: steam_audio.Mapping = "overlap") -> bytes:
    """scene.obj, scene.mtl, steam_audio.json and steam_audio.bin."""
    return zip_files(_steam_audio(scene, mapping).items())


def unity_pack(scene: AcousticScene, mapping: steam_audio.Mapping = "overlap") -> bytes:
    """An .asset for each material."""
    return zip_files(unity.assets(scene, mapping).items())


def zip_files(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Names to contents, in their order, with a time that does not change."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            stored = name.endswith(_STORED)
            archive.writestr(info, data, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED, _LEVEL)
    return buffer.getvalue()


def _steam_audio(scene: AcousticScene, mapping: steam_audio.Mapping) -> dict[str, bytes]:
    return {
        "scene.obj": wavefront.obj(scene),
        "scene.mtl": wavefront.mtl(scene, mapping),
        "steam_audio.json": steam_audio.materials_json(scene, mapping),
        "steam_audio.bin": steam_audio.binary(scene, mapping),
    }


def _readme(scene: AcousticScene, files: Mapping[str, bytes]) -> bytes:
    lines = [
        "A room's acoustics, as engines read them. Meshes are in metres, right-handed, y up, -z forward, and their",
        "triangles counter-clockwise seen from inside the room. Absorption is a coefficient of energy (ISO 354).",
        "Transmission is not predicted: it is 0, an assumption.",
        "",
        *(f"{name:<26} {text}" for name, text in _CONTENTS.items() if any(file.startswith(name) for file in files)),
    ]
    if scene.warnings:
        lines += ["", "Warnings:", *(f"- {warning}" for warning in scene.warnings)]
    return ("\n".join(lines) + "\n").encode()
