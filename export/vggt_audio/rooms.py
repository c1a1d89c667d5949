"""Furnished rooms by chance: sizes, finishes, windows, doors, rugs, curtains and furniture."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from export.vggt_audio.geometry import Box, Geometry, Patch
from export.vggt_audio.materials import ENTRIES, UPHOLSTERY, RoomMaterial, material
from export.vggt_audio.textures import Texture

Choices = tuple[tuple[str, float], ...]

FLOORS: Choices = (("wood", 0.35), ("carpet", 0.25), ("ceramic_tile", 0.15), ("marble_stone", 0.15), ("concrete", 0.1))
WALLS: Choices = (
    ("plaster", 0.28),
    ("wallpaper", 0.24),
    ("brick", 0.13),
    ("wood", 0.12),
    ("concrete", 0.12),
    ("ceramic_tile", 0.06),
    ("marble_stone", 0.05),
)
CEILINGS: Choices = (("plaster", 0.45), ("ceiling_tile", 0.3), ("wood", 0.12), ("concrete", 0.13))
BODIES: Choices = (("wood", 0.7), ("metal", 0.2), ("marble_stone", 0.1))
TILE_M = {"brick": 1.8, "wood": 1.6, "wallpaper": 1.5, "metal": 1.2, "glass": 1.5}  # of a texture of unknown size


@dataclass(frozen=True, eq=False)
class Finish:
    """How a surface looks and what it is made of."""

    material: RoomMaterial
    texture: Texture
    tile_m: float  # what one repetition of the texture covers
    tint: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class FurnishedRoom:
    """A room and its finishes; `geometry` refers to them by number."""

    geometry: Geometry
    finishes: tuple[Finish, ...]

    @property
    def absorption(self) -> NDArray[np.float64]:
        """[finishes, 8]"""
        return np.stack([finish.material.absorption for finish in self.finishes]).astype(np.float64)

    @property
    def scattering(self) -> NDArray[np.float64]:
        """[finishes]"""
        return np.array([finish.material.scattering for finish in self.finishes])


@dataclass
class Decorator:
    """Takes materials and textures at random, and remembers what was taken."""

    textures: dict[str, Sequence[Texture]]
    chance: np.random.Generator
    finishes: list[Finish] = field(default_factory=list)

    def choose(self, choices: Choices, furniture: bool = False) -> int:
        """The number of a finish that looks like one of `choices`."""
        present = [(look, weight) for look, weight in choices if self.textures.get(look)]
        weights = np.array([weight for _, weight in present])
        return self.finish(present[self.chance.choice(len(present), p=weights / weights.sum())][0], furniture)

    def finish(self, look: str, furniture: bool = False) -> int:
        """The number of a new finish of that look."""
        names = UPHOLSTERY if furniture and look == "fabric_curtain" else ENTRIES[look]
        name = names[self.chance.integers(len(names))]
        candidates = self.textures[look]
        texture = candidates[int(self.chance.integers(len(candidates)))]
        tile = texture.size_m[0] if texture.size_m else TILE_M.get(look, 1.2) * self.chance.uniform(0.6, 1.5)
        # Paint and cloth come in all colours, brick and wood in few.
        spread = 0.25 if look in ("plaster", "wallpaper", "carpet", "fabric_curtain") else 0.08
        tint = tuple(float(v) for v in self.chance.uniform(1 - spread, 1 + spread, 3))
        self.finishes.append(Finish(material(name, look, furniture), texture, float(tile), tint))  # type: ignore[arg-type]
        return len(self.finishes) - 1


def furnish(textures: dict[str, Sequence[Texture]], chance: np.random.Generator) -> FurnishedRoom:
    """A room of 2.6 to 10 m by 2.4 to 8 m, 2.3 to 4 m high. `textures`: by look; those of glass, wood, carpet and
    fabric_curtain must be there, and some for floors, walls and ceilings."""
    dims = (float(chance.uniform(2.6, 10)), float(chance.uniform(2.4, 8)), float(chance.uniform(2.3, 4.0)))
    decorator = Decorator(textures, chance)
    walls = [decorator.choose(WALLS)] * 4
    if chance.random() < 0.45:
        walls[chance.integers(4)] = decorator.choose(WALLS)
    faces = (*walls, decorator.choose(FLOORS), decorator.choose(CEILINGS))
    patches = [*_openings(dims, decorator), *_rugs(dims, decorator, faces[4])]
    return FurnishedRoom(
        Geometry(dims, faces, tuple(patches), tuple(_furniture(dims, decorator))), tuple(decorator.finishes)
    )


def _openings(dims: tuple[float, float, float], decorator: Decorator) -> list[Patch]:
    """A door, windows, curtains before some of them, and now and then a panel of another material."""
    chance, patches = decorator.chance, []
    for wall in chance.permutation(4)[: chance.integers(1, 5)]:
        width, height = dims[1 if wall < 2 else 0], dims[2]
        kind = chance.choice(["door", "window", "curtained", "panel"], p=[0.25, 0.35, 0.25, 0.15])
        wide = float(np.clip(chance.uniform(0.25, 0.8) * width, 0.7, 3.5)) if kind != "door" else 0.9
        left = float(chance.uniform(0.05, max(width - wide - 0.05, 0.06)))
        right = min(left + wide, width - 0.02)
        if kind == "door":
            patches.append(Patch(int(wall), (left, 0), (right, 2.05), decorator.finish("wood")))
        elif kind == "panel":
            look = str(chance.choice(["wood", "brick", "fabric_curtain", "metal"]))
            patches.append(Patch(int(wall), (left, 0.1), (right, height - 0.2), decorator.finish(look)))
        else:
            sill, top = float(chance.uniform(0.3, 1.0)), float(chance.uniform(1.9, height - 0.15))
            patches.append(Patch(int(wall), (left, sill), (right, top), decorator.finish("glass")))
            if kind == "curtained":
                curtain, drawn = decorator.finish("fabric_curtain"), float(chance.uniform(0.2, 0.6)) * (right - left)
                patches.append(Patch(int(wall), (left, 0.05), (left + drawn, height - 0.1), curtain))
    return patches


def _rugs(dims: tuple[float, float, float], decorator: Decorator, floor: int) -> list[Patch]:
    chance = decorator.chance
    if decorator.finishes[floor].material.look == "carpet" or chance.random() > 0.45:
        return []
    size = np.array(dims[:2]) * chance.uniform(0.3, 0.75, 2)
    low = chance.uniform(0.1, 1, 2) * (np.array(dims[:2]) - size - 0.1)
    high = low + size
    return [Patch(4, (float(low[0]), float(low[1])), (float(high[0]), float(high[1])), decorator.finish("carpet"))]


def _furniture(dims: tuple[float, float, float], decorator: Decorator) -> list[Box]:
    """Pieces that do not overlap; about one for three square metres, at most ten."""
    chance, boxes, taken = decorator.chance, list[Box](), list[tuple[float, float, float]]()
    makers = (_table, _cabinet, _sofa, _bed, _shelf, _column)
    for _ in range(chance.integers(0, min(10, int(dims[0] * dims[1] / 3)) + 1)):
        maker = makers[chance.choice(len(makers), p=[0.25, 0.22, 0.2, 0.13, 0.13, 0.07])]
        parts, radius = maker(dims, decorator)
        for _ in range(8):
            x, y = (float(at) for at in chance.uniform(0.15, np.array(dims[:2]) - 0.15))
            yaw = float(chance.choice([0, np.pi / 2]) + (chance.normal(0, 0.2) if chance.random() < 0.4 else 0))
            placed = [_placed(part, x, y, yaw) for part in parts]
            apart = all(np.hypot(x - a, y - b) > radius + other for a, b, other in taken)
            if apart and all(_fits(box, dims) for box in placed):
                boxes += placed
                taken.append((x, y, radius))
                break
    return boxes


def _placed(part: Box, x: float, y: float, yaw: float) -> Box:
    c, s = np.cos(yaw), np.sin(yaw)
    px, py, pz = part.center
    return Box((float(x + c * px - s * py), float(y + s * px + c * py), pz), part.size, yaw, part.finish)


def _fits(box: Box, dims: tuple[float, float, float]) -> bool:
    c, s = abs(np.cos(box.yaw)), abs(np.sin(box.yaw))
    reach = (c * box.size[0] + s * box.size[1], s * box.size[0] + c * box.size[1], box.size[2])
    return all(
        half / 2 <= at + 1e-6 and at + half / 2 <= limit + 1e-6
        for at, half, limit in zip(box.center, reach, dims, strict=True)
    )


Piece = tuple[list[Box], float]


def _block(size: tuple[float, float, float], center: tuple[float, float, float], finish: int) -> Box:
    return Box(center, size, 0.0, finish)


def _table(_: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance, finish = decorator.chance, decorator.choose(BODIES, furniture=True)
    a, b, h = chance.uniform(0.7, 2.0), chance.uniform(0.6, 1.0), chance.uniform(0.4, 0.78)
    legs = [
        _block((0.07, 0.07, h - 0.05), (i * (a / 2 - 0.06), j * (b / 2 - 0.06), (h - 0.05) / 2), finish)
        for i in (-1, 1)
        for j in (-1, 1)
    ]
    return [_block((a, b, 0.05), (0, 0, h - 0.025), finish), *legs], float(np.hypot(a, b) / 2)


def _cabinet(dims: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance, finish = decorator.chance, decorator.choose(BODIES, furniture=True)
    a, b, h = chance.uniform(0.5, 1.8), chance.uniform(0.4, 0.7), min(chance.uniform(0.6, 2.1), dims[2] - 0.1)
    return [_block((a, b, h), (0, 0, h / 2), finish)], float(np.hypot(a, b) / 2)


def _sofa(_: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance, finish = decorator.chance, decorator.finish("fabric_curtain", furniture=True)
    a, b = chance.uniform(0.8, 2.3), chance.uniform(0.8, 1.0)
    parts = [_block((a, b, 0.42), (0, 0, 0.21), finish), _block((a, 0.2, 0.42), (0, b / 2 - 0.1, 0.63), finish)]
    parts += [_block((0.18, b, 0.2), (i * (a / 2 - 0.09), 0, 0.52), finish) for i in (-1, 1)]
    return parts, float(np.hypot(a, b) / 2)


def _bed(_: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance = decorator.chance
    a, frame = chance.uniform(0.9, 1.9), decorator.finish("wood", furniture=True)
    mattress = decorator.finish("fabric_curtain", furniture=True)
    parts = [_block((a, 2.05, 0.25), (0, 0, 0.125), frame), _block((a - 0.05, 2.0, 0.25), (0, 0, 0.375), mattress)]
    return [*parts, _block((a, 0.06, 0.95), (0, 1.0, 0.475), frame)], float(np.hypot(a, 2.05) / 2)


def _shelf(dims: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance, finish = decorator.chance, decorator.finish("wood", furniture=True)
    a, h = chance.uniform(0.6, 1.6), min(chance.uniform(1.2, 2.2), dims[2] - 0.1)
    boards = [_block((a, 0.3, 0.04), (0, 0, float(z)), finish) for z in np.linspace(0.04, h - 0.02, 5)]
    sides = [_block((0.04, 0.3, h), (i * (a / 2 - 0.02), 0, h / 2), finish) for i in (-1, 1)]
    return [*boards, *sides, _block((a, 0.03, h), (0, 0.135, h / 2), finish)], float(np.hypot(a, 0.3) / 2)


def _column(dims: tuple[float, float, float], decorator: Decorator) -> Piece:
    chance, finish = decorator.chance, decorator.choose(WALLS)
    a = chance.uniform(0.25, 0.6)
    return [_block((a, a, dims[2]), (0, 0, dims[2] / 2), finish)], float(a * 0.75)
