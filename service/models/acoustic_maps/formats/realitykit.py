"""RealityKit (iOS and visionOS 27): `Audio.Absorption` and `Audio.Scattering` by frequency, or in ten octave bands."""

from typing import Any

from service.acoustics.bands import BANDS_HZ, resample
from service.acoustics.scene import AcousticScene, Material
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import numbers


def material(material: Material) -> dict[str, Any]:
    """`absorption` and `scattering`: Hz to coefficient, a dictionary literal once its keys are Floats."""
    scattering = [material.scattering] * len(BANDS_HZ)
    return {
        "absorption": _by_frequency(material.absorption),
        "scattering": _by_frequency(scattering),
        "absorption_octaves": numbers(resample(material.absorption, "realitykit10")),
        "scattering_octaves": numbers(resample(scattering, "realitykit10")),
    }


def document(scene: AcousticScene) -> dict[str, Any]:
    names = material_names(scene)
    return {
        "engine": "RealityKit",
        "octaves_hz": [31.25, 62.5, *BANDS_HZ],
        "materials": {name: material(item) for name, item in zip(names, scene.materials, strict=True)},
    }


def _by_frequency(values: Any) -> dict[str, Any]:
    return {str(band): value for band, value in zip(BANDS_HZ, numbers(values), strict=True)}
