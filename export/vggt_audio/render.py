"""Pictures of a furnished room by ray casting, with depth and finish of every pixel exact."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from export.vggt_audio.geometry import Array, Geometry, Hits, dot
from export.vggt_audio.rooms import Finish, FurnishedRoom
from export.vggt_audio.textures import Texture


@dataclass(frozen=True, eq=False)
class View:
    """A camera; OpenCV's axes: x right, y down, z forward. Pixel (u, v) looks along ((u - W/2)/f, (v - H/2)/f, 1)."""

    world_from_camera: Array  # [4, 4]
    focal: float  # in pixels
    height: int
    width: int

    @property
    def field_of_view(self) -> tuple[float, float]:
        """Vertical and horizontal, in radians."""
        return 2 * float(np.arctan(self.height / 2 / self.focal)), 2 * float(np.arctan(self.width / 2 / self.focal))

    def rays(self) -> tuple[Array, Array]:
        """Origins and directions [H * W, 3] in the room's frame. Directions have unit depth: distance is depth."""
        v, u = np.mgrid[: self.height, : self.width].astype(np.float32)
        x, y = (u - self.width / 2) / self.focal, (v - self.height / 2) / self.focal
        local = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
        directions = local @ self.world_from_camera[:3, :3].T
        return np.broadcast_to(self.world_from_camera[:3, 3], directions.shape), directions.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Light:
    """A lamp without size."""

    position: Array  # [3]
    intensity: float


@dataclass(frozen=True, eq=False)
class Exposure:
    """How the room is lit and how the camera turns light into bytes."""

    lights: tuple[Light, ...]
    ambient: float
    balance: tuple[float, float, float]
    level: float  # that automatic exposure brings the mean of a picture to
    gamma: float
    noise: float


@dataclass(frozen=True, eq=False)
class Picture:
    """What one view shows."""

    image: NDArray[np.uint8]  # [H, W, 3]
    depth: Array  # [H, W] metres along the optical axis
    finish: NDArray[np.intp]  # [H, W]


def look(position: Array, yaw: float, pitch: float, roll: float) -> Array:
    """world_from_camera [4, 4] of a camera at `position`; yaw 0 looks along +x, pitch up is positive; radians."""
    forward = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    pose = np.eye(4, dtype=np.float32)
    pose[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    pose[:3, 3] = position
    return pose


def light(geometry: Geometry, chance: np.random.Generator) -> Exposure:
    """One to three lamps under the ceiling, and a camera that is not quite balanced."""
    dims = np.array(geometry.dims, np.float32)
    lights = tuple(
        Light((chance.uniform(0.1, 0.9, 3) * dims * [1, 1, 0] + [0, 0, dims[2] - 0.2]).astype(np.float32), float(i))
        for i in chance.uniform(0.3, 1.2, chance.integers(1, 4))
    )
    balance = tuple(float(v) for v in 1 + chance.normal(0, 0.06, 3))
    return Exposure(
        lights,
        float(chance.uniform(0.3, 0.7)),
        balance,  # type: ignore[arg-type]
        float(chance.uniform(0.3, 0.55)),
        float(chance.uniform(0.8, 1.25)),
        float(chance.uniform(0, 4)),
    )


def photograph(room: FurnishedRoom, view: View, exposure: Exposure, chance: np.random.Generator) -> Picture:
    """The picture that `view` takes."""
    origin, direction = view.rays()
    hits = room.geometry.intersect(origin, direction)
    point = origin + hits.distance[:, None] * direction
    colour = _albedo(room.finishes, hits, direction, view.focal)
    shade = np.full(len(point), exposure.ambient, np.float32)
    for lamp in exposure.lights:
        to_lamp = lamp.position - point
        square = dot(to_lamp, to_lamp)
        facing = np.maximum(dot(to_lamp, hits.normal), 0) / np.sqrt(square + 1e-6)
        shade += lamp.intensity * facing / (1 + 0.15 * square)
    shade *= _corners(room.geometry, point) * _contact(room.geometry, point)
    shape = (view.height, view.width)
    colour *= shade[:, None] * np.array(exposure.balance, np.float32)
    colour *= exposure.level / max(float(colour.mean()), 0.02)
    pixels = (np.clip(colour, 0, 1.2) ** exposure.gamma * 255).astype(np.float32)
    pixels += chance.standard_normal(pixels.shape, np.float32) * exposure.noise
    image = np.clip(pixels, 0, 255).astype(np.uint8).reshape(*shape, 3)
    return Picture(image, hits.distance.reshape(shape), hits.finish.reshape(shape))


def _albedo(finishes: tuple[Finish, ...], hits: Hits, direction: Array, focal: float) -> Array:
    """[N, 3] in [0, 1]: each finish's texture, from the mip level that a pixel's footprint asks for."""
    colour = np.empty((len(hits.finish), 3), np.float32)
    slant = np.abs(dot(direction, hits.normal)) / np.sqrt(dot(direction, direction))
    footprint = hits.distance / focal / np.sqrt(np.maximum(slant, 0.05))  # metres
    for number in np.unique(hits.finish):
        finish, rows = finishes[number], np.flatnonzero(hits.finish == number)
        pyramid = mipmaps(finish.texture)
        texels = pyramid[0].shape[1] / finish.tile_m
        levels = np.clip(np.log2(footprint[rows] * texels + 1e-6).round(), 0, len(pyramid) - 1).astype(np.intp)
        for level in np.unique(levels):
            at, image = rows[levels == level], pyramid[level]
            high, wide = image.shape[:2]
            u = (hits.uv[at, 0] * (wide / finish.tile_m)).astype(np.intp) % wide
            v = (hits.uv[at, 1] * (wide / finish.tile_m)).astype(np.intp) % high
            colour[at] = image[high - 1 - v, u] * finish.tint
    return colour


@lru_cache(maxsize=2048)
def mipmaps(texture: Texture) -> tuple[Array, ...]:
    """The texture in [0, 1] at its own size and at halves of it, down to 4 texels."""
    levels: list[Array] = [texture.image.astype(np.float32) / np.float32(255)]
    while min(levels[-1].shape[:2]) >= 8:
        high, wide = (side // 2 * 2 for side in levels[-1].shape[:2])
        quads = levels[-1][:high, :wide].reshape(high // 2, 2, wide // 2, 2, 3)
        levels.append(quads.mean(axis=(1, 3), dtype=np.float32))
    return tuple(levels)


def _corners(geometry: Geometry, point: Array) -> Array:
    """Light that does not reach into the corners of the room: the product over the axes of how far a wall is."""
    wall = np.sort(np.minimum(point, np.array(geometry.dims, np.float32) - point), axis=1)[:, 1]
    return (1 - 0.35 * np.exp(-wall / 0.3)).astype(np.float32)


def _contact(geometry: Geometry, point: Array) -> Array:
    """The dark floor around what stands on it."""
    shade = np.ones(len(point), np.float32)
    floor = np.flatnonzero(point[:, 2] < 1e-3)
    for box in geometry.boxes:
        if box.center[2] - box.size[2] / 2 < 0.1 and floor.size:
            c, s = np.cos(box.yaw), np.sin(box.yaw)
            dx, dy = point[floor, 0] - box.center[0], point[floor, 1] - box.center[1]
            outside_x = np.abs(c * dx + s * dy) - box.size[0] / 2
            outside_y = np.abs(c * dy - s * dx) - box.size[1] / 2
            away = np.maximum(np.maximum(outside_x, outside_y), 0)
            shade[floor] *= 1 - 0.4 * np.exp(-away / 0.12)
    return shade
