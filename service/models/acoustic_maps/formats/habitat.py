"""Habitat and SoundSpaces 2: the material database that `RLRA_SetMaterialDatabaseJSON` reads.

A category of a mesh finds the material with most labels that are parts of its name. The engine's header speaks of
fractions of pressure, while the values of its own database are coefficients of energy, as these are.
"""

from typing import Any

from service.acoustics.bands import BANDS_HZ
from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import numbers


def document(scene: AcousticScene) -> dict[str, Any]:
    """Labels are the names of materials in the OBJ file; "default" is the largest."""
    names = material_names(scene)
    largest = max(range(len(names)), key=lambda index: scene.materials[index].area_m2)
    return {
        "materials": [
            {
                "name": item.label,
                "labels": [name, "default"] if index == largest else [name],
                "absorption": _pairs(item.absorption),
                "scattering": _pairs([item.scattering] * len(BANDS_HZ)),
                "transmission": _pairs([0.0] * len(BANDS_HZ)),
            }
            for index, (name, item) in enumerate(zip(names, scene.materials, strict=True))
        ]
    }


def _pairs(values: Any) -> list[Any]:
    return [entry for pair in zip(BANDS_HZ, numbers(values), strict=True) for entry in pair]
