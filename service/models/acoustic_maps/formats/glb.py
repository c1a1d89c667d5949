"""Binary glTF 2.0: the mesh with its acoustics on every vertex, materials, cameras and the room's reverberation.

| where | what |
|---|---|
| _ABSORPTION_0, _ABSORPTION_1 | VEC4 per vertex: absorption at 125 Hz to 1 kHz, and at 2 to 16 kHz |
| _SCATTERING | scalar per vertex |
| materials[i].extras.acoustic | the material as in the canonical scene; also the extension AURICLE_acoustic_material |
| extensions.MPEG_audio_spatial | reverbs with RT60 and DSR by frequency (ISO/IEC 23090-14) |
| scenes[0].extras.acoustic | values of the room |

y is up and lengths are metres. Faces are seen from inside the room only, so that one can look in from outside.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.acoustics.air import SPEED_OF_SOUND_M_S
from service.acoustics.bands import BANDS_HZ
from service.acoustics.reverberation import SABINE_S_PER_M
from service.acoustics.scene import AcousticScene, Camera, Room
from service.models.acoustic_maps.formats import canonical
from service.models.acoustic_maps.formats.axes import Frame, quaternion
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import number, numbers, to_json

MEDIA_TYPE = "model/gltf-binary"
MATERIAL_EXTENSION, REVERB_EXTENSION = "AURICLE_acoustic_material", "MPEG_audio_spatial"

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_NEAR_M = 0.05

# Linear base colours by what is in a material's name; others are grey, the darker the more they absorb.
_COLOURS = {
    "wood": (0.35, 0.18, 0.08),
    "parquet": (0.35, 0.18, 0.08),
    "brick": (0.40, 0.13, 0.08),
    "carpet": (0.20, 0.14, 0.22),
    "curtain": (0.25, 0.05, 0.06),
    "glass": (0.35, 0.50, 0.55),
    "window": (0.35, 0.50, 0.55),
    "concrete": (0.30, 0.30, 0.29),
    "seat": (0.10, 0.13, 0.28),
    "chair": (0.10, 0.13, 0.28),
}


def glb(scene: AcousticScene) -> bytes:
    """The file. Surfaces are flat: each vertex has the normal of one of them, and one material."""
    frame = Frame.of(scene, "gltf")
    builder = _Builder([], [], bytearray())
    primitives = _primitives(scene, frame, builder)
    nodes: list[dict[str, Any]] = [{"name": "room", "mesh": 0}]
    nodes += [_camera_node(index, item, frame) for index, item in enumerate(scene.cameras)]
    materials = [_material(scene, index, name) for index, name in enumerate(material_names(scene))]
    used = [MATERIAL_EXTENSION]
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Auricle"},
        "scene": 0,
        "scenes": [
            {"name": "scene", "nodes": list(range(len(nodes))), "extras": {"acoustic": _scene_values(scene, frame)}}
        ],
        "nodes": nodes,
        "meshes": [{"name": "room", "primitives": primitives}],
        "materials": materials,
        "accessors": builder.accessors,
        "bufferViews": builder.views,
        "buffers": [{"byteLength": len(builder.data)}],
    }
    if scene.cameras:
        document["cameras"] = [_perspective(item) for item in scene.cameras]
    if reverbs := _reverbs(scene.room):
        document["extensions"] = {REVERB_EXTENSION: {"reverbs": reverbs}}
        used.append(REVERB_EXTENSION)
    document["extensionsUsed"] = used
    return _container(to_json(document), bytes(builder.data))


@dataclass
class _Builder:
    """The buffer as it grows, its views and their accessors."""

    accessors: list[dict[str, Any]]
    views: list[dict[str, Any]]
    data: bytearray

    def view(self, array: NDArray[Any], target: int) -> int:
        self.data.extend(b"\0" * (-len(self.data) % 4))
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes, "target": target}
        if target == _ARRAY_BUFFER:
            view["byteStride"] = array.strides[0]
        self.views.append(view)
        self.data.extend(array.tobytes())
        return len(self.views) - 1

    def accessor(self, view: int, array: NDArray[Any], first: int, last: int, *, bounds: bool = False) -> int:
        """Of rows first to last of the `array` that is in `view`."""
        accessor = {
            "bufferView": view,
            "byteOffset": first * array.strides[0],
            "componentType": {"f4": _FLOAT, "u2": _UINT16, "u4": _UINT32}[array.dtype.str[1:]],
            "count": last - first,
            "type": _TYPES[array.shape[1] if array.ndim > 1 else 1],
        }
        if bounds:
            rows = array[first:last]
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _primitives(scene: AcousticScene, frame: Frame, builder: _Builder) -> list[dict[str, Any]]:
    """One per material that has triangles, in the order of materials."""
    order = np.argsort(scene.triangle_material, kind="stable")
    triangles = frame.triangles(scene.triangles)[order]
    material, surface = scene.triangle_material[order].astype(np.int64), scene.triangle_surface[order].astype(np.int64)
    # a vertex of the file is one of the scene on one surface and of one material; sorted, materials follow each other
    key = (material * len(scene.surfaces) + surface)[:, None] * len(scene.positions) + triangles
    vertices, indices = np.unique(key, return_inverse=True)
    owner, vertex = np.divmod(vertices, len(scene.positions))
    owner, on = np.divmod(owner, len(scene.surfaces))
    used = np.unique(material)
    vertex_ends = np.searchsorted(owner, used, side="right")
    triangle_ends = np.searchsorted(material, used, side="right")

    normals = frame.directions(np.stack([item.plane[:3] for item in scene.surfaces]))
    absorption = np.stack([item.absorption for item in scene.materials]).astype(np.float32)
    scattering = np.array([item.scattering for item in scene.materials], np.float32)
    attributes: dict[str, NDArray[np.float32]] = {
        "POSITION": frame.points(scene.positions)[vertex],
        "NORMAL": normals[on],
        "_ABSORPTION_0": absorption[owner, :4],
        "_ABSORPTION_1": absorption[owner, 4:],
        "_SCATTERING": scattering[owner],
    }
    views = {name: builder.view(np.ascontiguousarray(array), _ARRAY_BUFFER) for name, array in attributes.items()}
    starts = np.repeat(np.append(0, vertex_ends[:-1]), np.diff(triangle_ends, prepend=0))
    local = indices.reshape(-1, 3) - starts[:, None]
    corners = local.astype(np.uint16 if local.max(initial=0) < 0xFFFF else np.uint32).ravel()
    index_view = builder.view(corners, _ELEMENT_ARRAY_BUFFER)

    primitives, first, first_triangle = [], 0, 0
    for index, last, last_triangle in zip(used.tolist(), vertex_ends.tolist(), triangle_ends.tolist(), strict=True):
        accessors = {
            name: builder.accessor(views[name], np.ascontiguousarray(array), first, last, bounds=name == "POSITION")
            for name, array in attributes.items()
        }
        corner = builder.accessor(index_view, corners, 3 * first_triangle, 3 * last_triangle)
        primitives.append({"attributes": accessors, "indices": corner, "material": index})
        first, first_triangle = last, last_triangle
    return primitives


def _material(scene: AcousticScene, index: int, name: str) -> dict[str, Any]:
    item = scene.materials[index]
    acoustic = {"bands_hz": list(BANDS_HZ), **canonical.material(item), "transmission_source": "assumed"}
    grey = 0.75 - 0.55 * float(np.mean(item.absorption))
    label = item.label.lower()
    colour = next((colour for word, colour in _COLOURS.items() if word in label), (grey, grey, grey))
    return {
        "name": name,
        "pbrMetallicRoughness": {
            "baseColorFactor": numbers([*colour, 1]),
            "metallicFactor": 0,
            "roughnessFactor": number(0.4 + 0.6 * item.scattering),
        },
        "extras": {"acoustic": acoustic},
        "extensions": {MATERIAL_EXTENSION: acoustic},
    }


def _camera_node(index: int, camera: Camera, frame: Frame) -> dict[str, Any]:
    pose = frame.pose(camera.world_from_camera)
    return {
        "name": f"view{index}",
        "camera": index,
        "translation": pose[:3, 3].tolist(),
        "rotation": quaternion(pose[:3, :3]).tolist(),
        "extras": {"timestamp_s": camera.timestamp_s, "original_from_model": numbers(camera.original_from_model)},
    }


def _perspective(camera: Camera) -> dict[str, Any]:
    """The principal point is the middle of the picture, so twice its coordinates are the picture's size."""
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics.tolist()
    perspective = {"yfov": number(2 * np.arctan(cy / fy)), "aspectRatio": number(cx / fx * fy / cy), "znear": _NEAR_M}
    return {"type": "perspective", "perspective": perspective}


def _scene_values(scene: AcousticScene, frame: Frame) -> dict[str, Any]:
    return {
        "schema": canonical.SCHEMA,
        "bands_hz": list(BANDS_HZ),
        "scale": {"metric": scene.room.metric, "source": scene.room.scale_source},
        "room": canonical.room(scene.room, frame),
        "warnings": list(scene.warnings),
    }


def _reverbs(room: Room) -> list[dict[str, Any]]:
    """One, or none where the decay of no band is known.

    DSR is the energy of the diffuse sound after the predelay over what a source emits in all directions. Of E emitted,
    a diffuse field leaves 4 E / A at every place (Kuttruff, Room Acoustics, section 5.1), where A = 0.161 V / T is all
    that takes energy, and exp(-13.8 t / T) of it after t. The predelay is the mean free path 4 V / S.
    """
    if room.rt60_s is None or not room.volume_m3 or not room.surface_m2:
        return []
    predelay = 4 * room.volume_m3 / room.surface_m2 / SPEED_OF_SOUND_M_S
    properties = []
    for band, rt60 in zip(BANDS_HZ, room.rt60_s.tolist(), strict=True):
        if np.isfinite(rt60) and rt60 > 0:
            taken = SABINE_S_PER_M * room.volume_m3 / rt60
            dsr = 10 * np.log10(4 / taken) - 60 * predelay / rt60
            properties.append({"frequency": band, "RT60": number(rt60), "DSR": number(dsr)})
    return [{"id": 0, "bypass": True, "predelay": number(predelay), "properties": properties}] if properties else []


def _container(document: bytes, data: bytes) -> bytes:
    chunks = b"".join(
        struct.pack("<I4s", len(chunk) + -len(chunk) % 4, kind) + chunk + fill * (-len(chunk) % 4)
        for kind, chunk, fill in ((b"JSON", document, b" "), (b"BIN\0", data, b"\0"))
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
