"""Wwise: Acoustic Textures, absorption in percent of four bands, and scattering in percent."""

from typing import Any

from service.acoustics.bands import SCHEMES, resample
from service.acoustics.scene import AcousticScene, Material
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import number, numbers

_KEYS = ("AbsorptionLow", "AbsorptionMidLow", "AbsorptionMidHigh", "AbsorptionHigh")


def material(material: Material) -> dict[str, Any]:
    values = numbers(100 * resample(material.absorption, "wwise4"))
    return {**dict(zip(_KEYS, values, strict=True)), "Scattering": number(100 * material.scattering)}


def document(scene: AcousticScene) -> dict[str, Any]:
    names = material_names(scene)
    return {
        "engine": "Wwise",
        "bands_hz": [list(edges) for edges in SCHEMES["wwise4"].edges_hz],
        "textures": {name: material(item) for name, item in zip(names, scene.materials, strict=True)},
    }
