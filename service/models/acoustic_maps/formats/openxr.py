"""OpenXR, XR_BD_spatial_audio_rendering (Pico): the arrays of XrSoundObstacleMaterialConfigBD."""

from typing import Any

import numpy as np

from service.acoustics.bands import BANDS_HZ
from service.acoustics.scene import AcousticScene, Material
from service.models.acoustic_maps.formats.names import material_names
from service.models.acoustic_maps.formats.numbers import numbers

_MARGIN = 1e-4  # its coefficients lie between 0 and 1, and are neither


def material(material: Material) -> dict[str, Any]:
    count = len(BANDS_HZ)
    return {
        "bandCount": count,
        "bandFrequencies": list(BANDS_HZ),
        "bandAbsorptions": _open(material.absorption),
        "bandScatterings": _open([material.scattering] * count),
        "bandTransmissions": _open([0.0] * count),
    }


def document(scene: AcousticScene) -> dict[str, Any]:
    names = material_names(scene)
    return {
        "extension": "XR_BD_spatial_audio_rendering",
        "transmission_source": "assumed",
        "materials": [{"name": name, **material(item)} for name, item in zip(names, scene.materials, strict=True)],
    }


def _open(values: Any) -> list[Any]:
    return numbers(np.clip(np.asarray(values, np.float64), _MARGIN, 1 - _MARGIN))
