"""Generated scenes: a furnished room seen from several cameras, with everything that can be known about it.

A scene follows from its split and its number alone: the same two give the same scene, and no room of one split is a
room of another. Pictures use only the textures of their split.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from export.vggt_audio import decay
from export.vggt_audio.geometry import Array
from export.vggt_audio.materials import CLASSES
from export.vggt_audio.render import Picture, View, light, look, photograph
from export.vggt_audio.rooms import FurnishedRoom, furnish
from export.vggt_audio.textures import Texture

Example = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class Scene:
    """A room, where it was photographed from, and what the photographs show."""

    room: FurnishedRoom
    views: tuple[View, ...]
    pictures: tuple[Picture, ...]
    chance: np.random.Generator  # for whatever is made of the scene next: its sound

    def rt60(self, particles: int) -> NDArray[np.float64]:
        """[8] seconds, by Monte Carlo; NaN in a band that does not decay by 35 dB within 12 s."""
        room = self.room
        return decay.rt60(room.geometry, room.absorption, room.scattering, particles)

    def example(self) -> Example:
        """The arrays that a model is trained on; the world is the first camera's frame.

        images [S, H, W, 3] uint8, depth [S, H, W, 1] and world_points [S, H, W, 3] in metres, pose_enc [S, 9],
        absorption [S, H, W, 8], scattering [S, H, W, 1], impedance [S, H, W, 1] (real, units of rho c), material
        [S, H, W] (number in CLASSES).
        """
        finish = np.stack([picture.finish for picture in self.pictures])
        materials = [finish.material for finish in self.room.finishes]
        depth = np.stack([picture.depth for picture in self.pictures])
        first_from_world = np.linalg.inv(self.views[0].world_from_camera)
        points = [
            (origin + distance.reshape(-1, 1) * direction) @ first_from_world[:3, :3].T + first_from_world[:3, 3]
            for (origin, direction), distance in zip((view.rays() for view in self.views), depth, strict=True)
        ]
        return {
            "images": np.stack([picture.image for picture in self.pictures]),
            "depth": depth[..., None],
            "world_points": np.stack(points).reshape(*depth.shape, 3).astype(np.float32),
            "pose_enc": self.poses(),
            "absorption": np.stack([material.absorption for material in materials])[finish],
            "scattering": np.array([material.scattering for material in materials], np.float32)[finish][..., None],
            "impedance": np.array([material.impedance for material in materials], np.float32)[finish][..., None],
            "material": self.looks()[finish],
        }

    def poses(self) -> NDArray[np.float32]:
        """[S, 9]: the cameras' encodings, the first one's frame being the world."""
        first = self.views[0].world_from_camera
        return np.stack([_pose_encoding(np.linalg.inv(view.world_from_camera) @ first, view) for view in self.views])

    def looks(self) -> NDArray[np.intp]:
        """[finishes]: the number in CLASSES of what each looks like."""
        return np.array([CLASSES.index(finish.material.look) for finish in self.room.finishes])


@dataclass(frozen=True)
class Generator:
    """Scenes of one split. `textures`: all of that split."""

    split: str
    textures: Sequence[Texture]

    def scene(self, number: int, views: int, height: int, width: int) -> Scene:
        """Scene `number`: its room is the same for any number of views and any size of pictures."""
        seeds = np.random.SeedSequence([zlib.crc32(self.split.encode()), number]).spawn(4)
        in_room, in_views, in_light, in_rest = (np.random.default_rng(seed) for seed in seeds)
        looks: dict[str, Sequence[Texture]] = {
            look: [texture for texture in self.textures if texture.material == look] for look in CLASSES
        }
        room = furnish(looks, in_room)
        cameras = _cameras(room, views, height, width, in_views)
        exposure = light(room.geometry, in_light)
        pictures = tuple(photograph(room, view, exposure, in_light) for view in cameras)
        return Scene(room, cameras, pictures, in_rest)


def _cameras(room: FurnishedRoom, views: int, height: int, width: int, chance: np.random.Generator) -> tuple[View, ...]:
    """Cameras at eye height, one lens for all: somebody who turns round on the spot, or, in a third of the rooms,
    pictures from places all over the room that look across it."""
    focal = float(width / 2 / np.tan(np.deg2rad(chance.uniform(60, 95)) / 2))
    turns = chance.random() < 0.67
    spots = _spots(room, 1 if turns else views, chance)
    if turns:
        sway = chance.normal(0, 0.25, (views, 3)) * [1, 1, 0.2]
        near = (spots[0] + sway).astype(np.float32)
        free = room.geometry.contains(near, 0.1)
        spots = np.where(free[:, None], near, spots[0])
    middle = np.array(room.geometry.dims[:2], np.float32) / 2
    yaws = np.arctan2(*(middle - spots[:, :2]).T[::-1]) + chance.normal(0, 0.5, views)
    if turns:
        step = np.deg2rad(chance.uniform(20, 60)) * chance.choice([-1, 1])
        yaws = yaws[0] + np.arange(views) * step + chance.normal(0, 0.08, views)
    return tuple(
        View(look(spot, float(yaw), float(pitch), float(roll)), focal, height, width)
        for spot, yaw, pitch, roll in zip(
            spots, yaws, chance.normal(-0.06, 0.12, views), chance.normal(0, 0.03, views), strict=True
        )
    )


def _spots(room: FurnishedRoom, number: int, chance: np.random.Generator) -> Array:
    """[number, 3] free places. Of a few each, the one farthest from the middle: pictures then show much of the room."""
    dims, spots = np.array(room.geometry.dims, np.float32), []
    low, high = np.array([0.3, 0.3, 1.0]), np.array([dims[0] - 0.3, dims[1] - 0.3, min(1.9, dims[2] - 0.3)])
    for _ in range(number):
        tries = chance.uniform(low, high, (64, 3)).astype(np.float32)
        free = tries[room.geometry.contains(tries, 0.15)][: chance.integers(1, 4)]
        farthest = np.linalg.norm(free[:, :2] - dims[:2] / 2, axis=1).argmax() if len(free) else 0
        spots.append(free[farthest] if len(free) else dims / 2)
    return np.stack(spots).astype(np.float32)


def _pose_encoding(camera_from_first: NDArray[np.floating], view: View) -> Array:
    """[9]: translation, quaternion with the scalar last and not negative, vertical and horizontal field of view."""
    quaternion = Rotation.from_matrix(camera_from_first[:3, :3]).as_quat(canonical=True)
    return np.concatenate([camera_from_first[:3, 3], quaternion, view.field_of_view]).astype(np.float32)
