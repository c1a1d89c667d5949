"""Meta XR Audio: materials of its acoustic ray tracing as points on curves, and the walls of its shoebox room."""

from typing import Any

from service.acoustics.bands import BANDS_HZ, SCHEMES, resample
from service.acoustics.scene import AcousticScene, Material
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import numbers
from service.models.acoustic_maps.formats.shoebox import WALLS, shoebox


def material(material: Material) -> dict[str, Any]:
    """Values of `ovrAudio_AudioMaterialSetFrequency`: straight lines between the points, level outside of them."""
    return {
        "absorption": _curve(numbers(material.absorption)),
        "scattering": _curve([*numbers([material.scattering])] * len(BANDS_HZ)),
        "transmission": _curve([0.0] * len(BANDS_HZ)),
    }


def document(scene: AcousticScene) -> dict[str, Any]:
    """Materials by name, and the shoebox with the reflected energy of each wall in its four bands."""
    box = shoebox(scene)
    reflection = 1 - resample(box.absorption, "meta4")
    names = material_names(scene)
    return {
        "engine": "Meta XR Audio",
        "transmission_source": "assumed",
        "materials": [{"name": name, **material(item)} for name, item in zip(names, scene.materials, strict=True)],
        "shoebox": {
            "dimensions": dict(zip(("width", "height", "depth"), numbers(box.dims), strict=True)),
            "bands_hz": [list(edges) for edges in SCHEMES["meta4"].edges_hz],
            "reflection": dict(zip(WALLS, numbers(reflection), strict=True)),
        },
    }


def _curve(values: list[Any]) -> dict[str, Any]:
    return {"points": [{"frequency": band, "data": value} for band, value in zip(BANDS_HZ, values, strict=True)]}
