"""Steam Audio (Valve, 4.8): materials in its three bands, and a mesh laid out as `iplStaticMeshCreate` takes it.

`binary` is little-endian, in right-handed axes with y up and in metres, and can be mapped into memory and passed on:

    offset              type            content
    0                   char[8]         "AURSTEAM"
    8                   int32           1, the version of this layout
    12                  int32           V, vertices
    16                  int32           T, triangles
    20                  int32           M, materials
    24                  int32[2]        0, 0
    32                  float32[V][3]   IPLVector3 vertices
    + 12 V              int32[T][3]     IPLTriangle, counter-clockwise seen from inside the room
    + 12 T              int32[T]        index of the material of each triangle
    + 4 T               float32[M][7]   IPLMaterial: absorption[3], scattering, transmission[3]
"""

import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.acoustics.bands import STEAM_EDGES_HZ, resample
from service.acoustics.scene import AcousticScene, Material
from service.models.acoustic_maps.formats.axes import Frame
from service.models.acoustic_maps.formats.numbers import numbers, to_json

Mapping = Literal["overlap", "preset250_1k_4k"]
"""How three bands come from eight: by what overlaps, or the values at 250 Hz, 1 and 4 kHz that its own presets have."""

MAGIC, VERSION = b"AURSTEAM", 1
_HEADER = struct.Struct("<8s4i8x")
_SCHEMES: dict[Mapping, str] = {"overlap": "steam3", "preset250_1k_4k": "preset250_1k_4k"}


def coefficients(material: Material, mapping: Mapping = "overlap") -> NDArray[np.float32]:
    """[7] as IPLMaterial has them: absorption in three bands, scattering, transmission in three bands."""
    absorption = np.clip(resample(material.absorption, _SCHEMES[mapping]), 0, 1)
    return np.array([*absorption, material.scattering, 0, 0, 0], np.float32)


def material(material: Material, mapping: Mapping = "overlap") -> dict[str, Any]:
    values = numbers(coefficients(material, mapping))
    return {"absorption": values[:3], "scattering": values[3], "transmission": values[4:]}


def materials_json(scene: AcousticScene, mapping: Mapping = "overlap") -> bytes:
    """All materials by index, and what belongs to reading them."""
    return to_json(
        {
            "engine": "Steam Audio 4.8",
            "bands_hz": [list(edges) for edges in STEAM_EDGES_HZ],
            "mapping": mapping,
            "transmission_source": "assumed",
            "materials": [
                {"id": index, "label": item.label, **material(item, mapping)}
                for index, item in enumerate(scene.materials)
            ],
        }
    )


def binary(scene: AcousticScene, mapping: Mapping = "overlap") -> bytes:
    """The mesh and its materials, in the layout above."""
    frame = Frame.of(scene, "gltf")
    materials = np.stack([coefficients(item, mapping) for item in scene.materials])
    return b"".join(
        [
            _HEADER.pack(MAGIC, VERSION, len(scene.positions), len(scene.triangles), len(materials)),
            frame.points(scene.positions).astype("<f4").tobytes(),
            frame.triangles(scene.triangles).astype("<i4").tobytes(),
            scene.triangle_material.astype("<i4").tobytes(),
            materials.astype("<f4").tobytes(),
        ]
    )
