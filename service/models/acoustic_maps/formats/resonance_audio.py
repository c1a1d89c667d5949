"""Resonance Audio (Google): a shoebox, the nearest of its named materials for each wall, and decay times to set.

Coefficients and names are those of ROOM_MATERIAL_COEFFICIENTS in src/utils.js of resonance-audio 1.0.0 (Apache-2.0), in
the order of the enumeration MaterialName of the native library: 31.25 Hz to 8 kHz, in octaves.
"""

from typing import Any

import numpy as np

from service.acoustics.bands import resample
from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.axes import quaternion
from service.models.acoustic_maps.formats.numbers import number, numbers
from service.models.acoustic_maps.formats.shoebox import WALLS, shoebox

BANDS_HZ = (31.25, 62.5, 125, 250, 500, 1000, 2000, 4000, 8000)
MAX_DURATION_S = 3.0  # of its late reverberation
UNIFORM = "uniform"
_FAR = 0.15  # distance from which on no name describes a wall

MATERIALS: dict[str, tuple[float, ...]] = {
    "transparent": (1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000, 1.000),
    "acoustic-ceiling-tiles": (0.672, 0.675, 0.700, 0.660, 0.720, 0.920, 0.880, 0.750, 1.000),
    "brick-bare": (0.030, 0.030, 0.030, 0.030, 0.030, 0.040, 0.050, 0.070, 0.140),
    "brick-painted": (0.006, 0.007, 0.010, 0.010, 0.020, 0.020, 0.020, 0.030, 0.060),
    "concrete-block-coarse": (0.360, 0.360, 0.360, 0.440, 0.310, 0.290, 0.390, 0.250, 0.500),
    "concrete-block-painted": (0.092, 0.090, 0.100, 0.050, 0.060, 0.070, 0.090, 0.080, 0.160),
    "curtain-heavy": (0.073, 0.106, 0.140, 0.350, 0.550, 0.720, 0.700, 0.650, 1.000),
    "fiber-glass-insulation": (0.193, 0.220, 0.220, 0.820, 0.990, 0.990, 0.990, 0.990, 1.000),
    "glass-thin": (0.180, 0.169, 0.180, 0.060, 0.040, 0.030, 0.020, 0.020, 0.040),
    "glass-thick": (0.350, 0.350, 0.350, 0.250, 0.180, 0.120, 0.070, 0.040, 0.080),
    "grass": (0.050, 0.050, 0.150, 0.250, 0.400, 0.550, 0.600, 0.600, 0.600),
    "linoleum-on-concrete": (0.020, 0.020, 0.020, 0.030, 0.030, 0.030, 0.030, 0.020, 0.040),
    "marble": (0.010, 0.010, 0.010, 0.010, 0.010, 0.010, 0.020, 0.020, 0.040),
    "metal": (0.030, 0.035, 0.040, 0.040, 0.050, 0.050, 0.050, 0.070, 0.090),
    "parquet-on-concrete": (0.028, 0.030, 0.040, 0.040, 0.070, 0.060, 0.060, 0.070, 0.140),
    "plaster-rough": (0.017, 0.018, 0.020, 0.030, 0.040, 0.050, 0.040, 0.030, 0.060),
    "plaster-smooth": (0.011, 0.012, 0.013, 0.015, 0.020, 0.030, 0.040, 0.050, 0.100),
    "plywood-panel": (0.400, 0.340, 0.280, 0.220, 0.170, 0.090, 0.100, 0.110, 0.220),
    "polished-concrete-or-tile": (0.008, 0.008, 0.010, 0.010, 0.015, 0.020, 0.020, 0.020, 0.040),
    "sheet-rock": (0.290, 0.279, 0.290, 0.100, 0.050, 0.040, 0.070, 0.090, 0.180),
    "water-or-ice-surface": (0.006, 0.006, 0.008, 0.008, 0.013, 0.015, 0.020, 0.025, 0.050),
    "wood-ceiling": (0.150, 0.147, 0.150, 0.110, 0.100, 0.070, 0.060, 0.070, 0.140),
    "wood-panel": (0.280, 0.280, 0.280, 0.220, 0.170, 0.090, 0.100, 0.110, 0.220),
}
_NAMES = (*MATERIALS, UNIFORM)
_ROOTS = np.sqrt(np.array(list(MATERIALS.values())))[:, 2:]


def material(absorption: Any) -> dict[str, Any]:
    """absorption [8], octaves from 125 Hz -> the name to use, its number in the native enumeration, and how near it is.

    `distance` is the root mean square from 125 Hz to 8 kHz of the difference of square roots. Beyond 0.15 the name is
    "uniform", which stands for half of the energy at all frequencies, and only the decay times say what the room is.
    """
    roots = np.sqrt(np.clip(np.asarray(absorption, np.float64)[:-1], 0, 1))
    distances = np.sqrt(((_ROOTS - roots) ** 2).mean(axis=1))
    best = int(distances.argmin())
    name = _NAMES[best] if distances[best] <= _FAR else UNIFORM
    return {
        "name": name,
        "enum": _NAMES.index(name),
        "nearest": _NAMES[best],
        "distance": number(float(distances[best])),
    }


def document(scene: AcousticScene) -> dict[str, Any]:
    """`dimensions` and `materials` are those of the web SDK's setRoomProperties, which sets its decay times by formulas
    of its own: pass `rt60_9` to LateReflections.setDurations afterwards, or to ComputeReverbPropertiesFromRT60s.

    `rt60_9` is null where the room's decay is not known, and limited to what the SDK plays.
    """
    box = shoebox(scene)
    walls = dict(zip(WALLS, map(material, box.absorption), strict=True))
    return {
        "engine": "Resonance Audio",
        "dimensions": dict(zip(("width", "height", "depth"), numbers(box.dims), strict=True)),
        "materials": {wall: found["name"] for wall, found in walls.items()},
        "bands_hz": list(BANDS_HZ),
        "rt60_9": _durations(scene),
        "walls": walls,
        "position": numbers(box.centre),
        "rotation_wxyz": numbers(np.roll(quaternion(box.rotation), 1)),
    }


def _durations(scene: AcousticScene) -> list[Any] | None:
    if scene.room.rt60_s is None:
        return None
    endless = np.where(np.isnan(scene.room.rt60_s), MAX_DURATION_S, scene.room.rt60_s)
    return numbers(np.clip(resample(endless, "resonance9"), 0, MAX_DURATION_S))
