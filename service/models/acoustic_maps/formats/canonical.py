"""The canonical scene, "acoustic-scene/1": as JSON, and its mesh as arrays. Every other format is derived from it.

Absorption is the random-incidence coefficient of energy (ISO 354) in `bands_hz`, reflection at most what the largest of
it leaves, scattering that of ISO 17497-1, impedance normal and specific in units of rho c. Lengths are in
`units.length`; areas and volumes, which say so in their names, in metres.
"""

import json
from typing import Any

import numpy as np

from service.acoustics.bands import BANDS_HZ
from service.acoustics.clarity import clarity_db, critical_distance_from_rt60, definition
from service.acoustics.impedance import agrees
from service.acoustics.scene import AcousticScene, Camera, Material, Room, Surface
from service.models.acoustic_maps.formats import meta_xr, openxr, resonance_audio, steam_audio, wwise
from service.models.acoustic_maps.formats.axes import Frame, FrameName
from service.models.acoustic_maps.formats.numbers import DIGITS, number, numbers, to_json
from service.tensors import Tensors

SCHEMA = "acoustic-scene/1"


def document(scene: AcousticScene, frame_name: FrameName = "gltf", *, mesh: bool = True) -> dict[str, Any]:
    """Everything that is known of the scene; without `mesh` all but positions and triangles."""
    frame = Frame.of(scene, frame_name)
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "units": {"length": frame.unit, "angle": "rad"},
        "frame": frame_name,
        "scale": {"metric": scene.room.metric, "source": scene.room.scale_source},
        "bands_hz": list(BANDS_HZ),
        "transmission_source": "assumed",
        "room": room(scene.room, frame),
        "materials": [
            {"id": index, **material(item), "presets": presets(item)} for index, item in enumerate(scene.materials)
        ],
        "surfaces": [{"id": index, **surface(item, frame)} for index, item in enumerate(scene.surfaces)],
        "views": [{"index": index, **camera(item, frame)} for index, item in enumerate(scene.cameras)],
        "warnings": list(scene.warnings),
    }
    if mesh:
        result["mesh"] = {
            "winding": "(b - a) x (c - a) points into the room",
            "positions": np.round(frame.points(scene.positions).astype(np.float64), DIGITS - 1).tolist(),
            "triangles": frame.triangles(scene.triangles).tolist(),
            "triangle_material": scene.triangle_material.tolist(),
            "triangle_surface": scene.triangle_surface.tolist(),
        }
    return result


def scene_json(scene: AcousticScene, frame_name: FrameName = "gltf", *, mesh: bool = True) -> bytes:
    return to_json(document(scene, frame_name, mesh=mesh))


def arrays(scene: AcousticScene, frame_name: FrameName = "gltf") -> Tensors:
    """positions float32 [V, 3], triangles int32 [T, 3], triangle_material and triangle_surface int32 [T]; absorption
    [M, 8], reflection, scattering [M] and impedance [M, 2] of materials; rt60_s [8] (NaN where it is not known);
    world_from_camera [S, 4, 4] and intrinsics [S, 3, 3]; and `scene`, the JSON document without its mesh, in UTF-8."""
    frame = Frame.of(scene, frame_name)
    rt60 = scene.room.rt60_s
    return {
        "positions": frame.points(scene.positions),
        "triangles": frame.triangles(scene.triangles),
        "triangle_material": scene.triangle_material,
        "triangle_surface": scene.triangle_surface,
        "absorption": np.stack([item.absorption for item in scene.materials]).astype(np.float32),
        "reflection": np.array([item.reflection for item in scene.materials], np.float32),
        "scattering": np.array([item.scattering for item in scene.materials], np.float32),
        "impedance": np.array([(item.impedance.real, item.impedance.imag) for item in scene.materials], np.float32),
        "rt60_s": np.full(len(BANDS_HZ), np.nan, np.float32) if rt60 is None else rt60.astype(np.float32),
        "world_from_camera": np.stack([frame.pose(item.world_from_camera) for item in scene.cameras]),
        "intrinsics": np.stack([item.intrinsics for item in scene.cameras]),
        "scene": np.frombuffer(json.dumps(document(scene, frame_name, mesh=False)).encode(), np.uint8),
    }


def material(material: Material) -> dict[str, Any]:
    """Its properties; absorption + reflection <= 1 in every band also as rounded here."""
    absorption = numbers(material.absorption)
    left = max(1 - max(absorption), 0.0)
    reflection = float(f"{material.reflection:.{DIGITS}g}")
    return {
        "label": material.label,
        "distance": number(material.distance),
        "confidence": number(material.confidence),
        "area_m2": number(material.area_m2),
        "absorption": absorption,
        "reflection": min(reflection, left),
        "reflection_bands": numbers([1 - value for value in absorption]),
        "scattering": number(material.scattering),
        "transmission": [0.0] * len(BANDS_HZ),
        "impedance": {
            "re": number(material.impedance.real),
            "im": number(material.impedance.imag),
            "agrees": bool(agrees(material.impedance, material.absorption)),
        },
    }


def presets(item: Material) -> dict[str, Any]:
    """The same as each engine takes it."""
    return {
        "steam": steam_audio.material(item),
        "meta": meta_xr.material(item),
        "resonance": resonance_audio.material(item.absorption),
        "wwise": wwise.material(item),
        "openxr_bd": openxr.material(item),
    }


def room(room: Room, frame: Frame) -> dict[str, Any]:
    """Values of the whole room; null where what was seen does not determine them.

    Clarity (C50, C80), definition (D50) and the distance at which direct and reverberant sound are equal follow from
    the reverberation times, as in a diffuse field.
    """
    rt60 = np.full(len(BANDS_HZ), np.nan) if room.rt60_s is None else np.asarray(room.rt60_s, np.float64)
    rt60 = np.where(np.isfinite(rt60) & (rt60 > 0), rt60, np.nan)
    critical = critical_distance_from_rt60(room.volume_m3, rt60) if room.volume_m3 else np.full(len(BANDS_HZ), np.nan)
    return {
        "volume_m3": number(room.volume_m3),
        "surface_m2": number(room.surface_m2),
        "dims_m": None if room.dims_m is None else numbers(room.dims_m),
        "up": numbers(frame.directions(room.up)),
        "rt60_s": None if room.rt60_s is None else numbers(room.rt60_s),
        "rt60_method": room.rt60_method,
        "c50_db": numbers(clarity_db(rt60, 0.05)),
        "c80_db": numbers(clarity_db(rt60, 0.08)),
        "d50": numbers(definition(rt60)),
        "critical_distance_m": numbers(critical),
        "air": {"m_per_m": numbers(room.air_absorption_per_m)},
        "seen_area_fraction": number(room.seen_area_fraction),
    }


def surface(surface: Surface, frame: Frame) -> dict[str, Any]:
    """A flat part: its unit normal points into the room, and normal . x + d = 0."""
    return {
        "material": surface.material,
        "plane": numbers(frame.plane(surface.plane)),
        "area_m2": number(surface.area_m2),
        "class": surface.kind,
    }


def camera(camera: Camera, frame: Frame) -> dict[str, Any]:
    """It looks along the frame's forward axis; pixels are those of the model's image, counted along edges."""
    return {
        "intrinsics": numbers(camera.intrinsics),
        "world_from_camera": numbers(frame.pose(camera.world_from_camera)),
        "original_from_model": numbers(camera.original_from_model),
        "timestamp_s": camera.timestamp_s,
    }
