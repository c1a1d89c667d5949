"""The box that engines without a mesh take a room for: its size, how it stands, and what each of its six walls is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.scene import AcousticScene
from service.models.acoustic_maps.formats.axes import Frame

Array = NDArray[np.float64]

WALLS = ("left", "right", "down", "up", "front", "back")  # -x, +x, -y, +y, -z, +z of the box


@dataclass(frozen=True, eq=False)
class Shoebox:
    """In glTF's axes: x to the right, y up, z backwards. `rotation` [3, 3] takes the box's own axes to the scene's."""

    centre: Array  # [3] metres
    rotation: Array
    dims: Array  # [3] metres: width, height, depth
    absorption: Array  # [6, 8] mean over each of WALLS
    scattering: Array  # [6]
    areas: Array  # [6] m2

    @property
    def volume_m3(self) -> float:
        return float(np.prod(self.dims))

    @property
    def surface_m2(self) -> float:
        return float(self.areas.sum())


def shoebox(scene: AcousticScene) -> Shoebox:
    """The smallest upright box around the scene whose sides are parallel to its largest wall.

    Of the four ways it could be turned it takes the one that is nearest to the first camera's right and forward. A wall
    is the mean, by area, of the shell that faces as it does; furniture is left out. A side that nothing faces is the
    mean of all.
    """
    frame = Frame.of(scene, "gltf")
    rotation = _rotation(scene, frame)
    points = frame.points(scene.positions) @ rotation
    low, high = points.min(axis=0).astype(np.float64), points.max(axis=0).astype(np.float64)
    dims = np.maximum(high - low, 1e-3)
    absorption, scattering = _walls(scene, frame, rotation)
    width, height, depth = dims
    areas = np.repeat([depth * height, width * depth, width * height], 2)
    return Shoebox(rotation @ ((low + high) / 2), rotation, dims, absorption, scattering, areas)


def _rotation(scene: AcousticScene, frame: Frame) -> Array:
    walls = [surface for surface in scene.surfaces if surface.kind == "wall"]
    if not walls:
        return np.eye(3)
    x, _, z = frame.directions(max(walls, key=lambda wall: wall.area_m2).plane[:3]).astype(np.float64)
    quarter = np.pi / 2
    angle = np.arctan2(x, z)  # about y; a quarter turn more or less is the same box
    angle -= quarter * np.round(angle / quarter)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def _walls(scene: AcousticScene, frame: Frame, rotation: Array) -> tuple[Array, Array]:
    values = np.array([[*item.absorption, item.scattering] for item in scene.materials], np.float64)
    shell = [surface for surface in scene.surfaces if surface.kind != "object"] or list(scene.surfaces)
    areas = np.array([surface.area_m2 for surface in shell])
    # a wall's normal points into the room: that of the left one to the right
    outward = -frame.directions(np.stack([surface.plane[:3] for surface in shell])) @ rotation
    axis = np.abs(outward).argmax(axis=1)
    side = 2 * axis + (np.take_along_axis(outward, axis[:, None], axis=1)[:, 0] > 0)
    shares = np.where(side == np.arange(6)[:, None], areas, 0.0)
    shares[shares.sum(axis=1) == 0] = areas
    means = shares @ values[[surface.material for surface in shell]] / shares.sum(axis=1, keepdims=True)
    return np.clip(means[:, :-1], 0, 1), np.clip(means[:, -1], 0, 1)
