"""Maps of several views to the acoustic scene: the room's shape, its surfaces, what they are made of, how it decays.

Nothing here knows a unit of length until the end: a scale multiplies what was found.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.acoustics.geometry import Array, Cameras
from service.acoustics.materials import group, named_materials
from service.acoustics.mesh import Mesh, build_mesh
from service.acoustics.planes import weighted_median
from service.acoustics.room import SIDES, fit_hull
from service.acoustics.samples import (
    ABSORPTION,
    CONFIDENCE,
    REACTANCE,
    REFLECTION,
    RESISTANCE,
    SCATTERING,
    check,
    sample,
    sums_by_key,
)
from service.acoustics.scene import AcousticScene, Camera, Material, NoRoom, Surface
from service.acoustics.surfaces import Surfaces, survey
from service.acoustics.values import Options, room_values, warnings

PLACED = 1.0  # pose_conf from which on a view is where its pose says
_LEAST_SHARE = 0.001  # of the hull's area, for a material on a plane to be a surface of its own


def reconstruct(
    maps: Mapping[str, NDArray[Any]],
    options: Options | None = None,
    *,
    timestamps: Sequence[float] | None = None,
    original_from_model: NDArray[np.floating] | None = None,
) -> AcousticScene:
    """The scene that maps of S views show.

    maps: depth_map [S, H, W, 1] along the optical axis, depth_conf [S, H, W] (>= 1), pose_enc [S, 9] (translation of
    camera from world, quaternion x y z w, vertical and horizontal field of view in radians), pose_conf [S], absorption
    [S, H, W, 8], reflection [S, H, W, 1], scattering [S, H, W, 1], impedance [S, H, W, 2] (re, im in units of rho c),
    acoustic_conf [S, H, W] in [0, 1]; others are ignored. timestamps: [S] seconds. original_from_model: [S, 3, 3] per
    view.

    The room is taken for a box with objects in it. Volume is of the air and surface of all that it touches; they, the
    extents and the reverberation time are None where too little was seen, and `warnings` say so. Values that are not
    numbers, views without a usable camera or whose pose is a guess, and pixels without a depth are left out. Raises
    NoRoom where nothing is left and as `room_values`, and ValueError where maps are missing or of unlike shapes.
    """
    options = Options() if options is None else options
    height, width = check(maps)
    cameras, usable = Cameras.decode(maps["pose_enc"], height, width)
    usable &= maps["pose_conf"] >= PLACED
    if not usable.any():
        raise NoRoom("no view has a usable camera: poses are finite, with fields of view of 2 to 175 degrees")
    kept = np.flatnonzero(usable)
    samples = sample(maps, cameras, kept.tolist())
    if not len(samples):
        raise NoRoom("no view shows anything: depths are positive and finite, and what is there has properties")
    hull = fit_hull(samples, cameras.select(kept))
    weights = samples.areas(samples.normals) * samples.weights
    material = group(samples.properties, weights)
    surfaces = survey(samples, hull, material)
    room, length, stretch = room_values(surfaces, options)
    mesh = build_mesh(surfaces, options.max_triangles)
    found, index = _surfaces(surfaces, mesh, length, stretch)
    areas = np.bincount([surface.material for surface in found], [s.area_m2 for s in found], material.max() + 1)
    triangle_surface = np.array([index[key] for key in zip(mesh.plane.tolist(), mesh.material.tolist(), strict=True)])
    return AcousticScene(
        (mesh.positions * length).astype(np.float32),
        mesh.triangles.astype(np.int32),
        mesh.material.astype(np.int32),
        triangle_surface.astype(np.int32),
        tuple(
            _material(samples.properties[material == number], weights[material == number], area)
            for number, area in enumerate(areas.tolist())
        ),
        found,
        _cameras(cameras.scaled(length), timestamps, original_from_model),
        room,
        warnings(surfaces, mesh, room, options, usable),
    )


def _surfaces(
    surfaces: Surfaces, mesh: Mesh, length: float, stretch: float
) -> tuple[tuple[Surface, ...], dict[tuple[int, int], int]]:
    """Each plane's materials, and the number of each (plane, material). Traces of a material count as the plane's
    first, unless the mesh shows them."""
    planes = int(surfaces.plane.max()) + 1
    areas = sums_by_key(surfaces.plane, planes, surfaces.area, surfaces.shares)
    shown = np.zeros(areas.shape, bool)
    shown[mesh.plane, mesh.material] = True
    first = np.eye(areas.shape[1], dtype=bool)[areas.argmax(axis=1)]
    kept = shown | (areas > _LEAST_SHARE * surfaces.hull.sizes().sum()) | (first & (areas > 0))
    areas += np.where(first, np.where(kept, 0, areas).sum(axis=1, keepdims=True), 0)
    coefficients = _planes(surfaces)
    coefficients[:, 3] *= length
    found: list[Surface] = []
    index: dict[tuple[int, int], int] = {}
    for plane, material in np.argwhere(kept).tolist():
        kind = "object" if plane >= SIDES else ("wall", "wall", "wall", "wall", "floor", "ceiling")[plane]
        index[plane, material] = len(found)
        area = float(areas[plane, material] * length**2 * stretch)
        found.append(Surface(material, coefficients[plane].astype(np.float32), area, kind))
    return tuple(found), index


def _planes(surfaces: Surfaces) -> Array:
    """[P, 4] of each plane: its normal into the air, and minus that times its points."""
    hull, objects = surfaces.hull, surfaces.objects
    sides = np.array([[*hull.normal(side), -hull.offset(side)] for side in range(SIDES)])
    sign = np.tile([-1, 1], 3)
    normals = sign[:, None] * np.repeat(objects.axes, 2, axis=1)
    ends = np.stack([objects.low, objects.high], axis=2).reshape(-1, SIDES)
    faces = np.concatenate([normals, -(sign * ends)[..., None]], axis=2)
    return np.concatenate([sides, faces.reshape(-1, 4)])


def _material(properties: Array, weights: Array, area: float) -> Material:
    trusted = weights * (0.05 + properties[:, CONFIDENCE])
    mean = (trusted @ properties / trusted.sum()).clip(0, 1)
    label, distance = named_materials().nearest(mean[ABSORPTION])
    return Material(
        label,
        distance,
        float(weights @ properties[:, CONFIDENCE] / weights.sum()),
        area,
        mean[ABSORPTION].astype(np.float32),
        float(min(mean[REFLECTION], 1 - mean[ABSORPTION].max())),
        float(mean[SCATTERING]),
        complex(
            weighted_median(properties[:, RESISTANCE], trusted), weighted_median(properties[:, REACTANCE], trusted)
        ),
    )


def _cameras(
    cameras: Cameras, timestamps: Sequence[float] | None, original_from_model: NDArray[np.floating] | None
) -> tuple[Camera, ...]:
    poses = cameras.world_from_camera.astype(np.float32)
    crops = np.tile(np.eye(3), (len(poses), 1, 1)) if original_from_model is None else original_from_model
    times: Sequence[float | None] = [None] * len(poses) if timestamps is None else timestamps
    return tuple(
        Camera(intrinsics.astype(np.float32), pose, time, np.asarray(crop, np.float32))
        for intrinsics, pose, time, crop in zip(cameras.intrinsics, poses, times, crops, strict=True)
    )
