"""A small true acoustic scene: a furnished box of 5 x 4 x 2.7 m, seen by a camera that is held at a tilt."""

import numpy as np

from service.acoustics.scene import AcousticScene, Camera, Material, Room, Surface

DIMS = (5.0, 4.0, 2.7)  # width along the camera's right, depth along its view, height
TILT = np.deg2rad(15.0)  # the camera looks down
RT60 = np.array([0.9, 0.8, 0.65, 0.55, 0.5, 0.48, 0.42, 0.3], np.float32)
AIR = np.array([0.0001, 0.0003, 0.0006, 0.0011, 0.0023, 0.0068, 0.0242, 0.0839], np.float32)

# corners of a quad, counter-clockwise seen from outside of the box
_FACES = {
    "floor": [(0, 0, 0), (0, 1, 0), (1, 1, 0), (1, 0, 0)],
    "ceiling": [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
    "left": [(0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0)],
    "right": [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
    "near": [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
    "far": [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)],
}
_MATERIALS = {"floor": 1, "ceiling": 2, "left": 0, "right": 0, "near": 0, "far": 3}


def material(label: str, absorption: list[float], scattering: float, area: float) -> Material:
    alpha = np.array(absorption, np.float32)
    reflection = 0.9 * (1 - float(alpha.max()))
    return Material(label, 0.05, 0.8, area, alpha, reflection, scattering, complex(12.5, -3.25))


def level_to_camera() -> np.ndarray:
    """[3, 3]: right, forward, up of the level room to the camera's right, down, forward."""
    level = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    cosine, sine = np.cos(TILT), np.sin(TILT)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]) @ level


def furnished_box(rt60: np.ndarray | None = RT60, splits: int = 1) -> AcousticScene:
    """The camera stands in the room's middle, 1.6 m high. `splits`: quads a side that a face is cut into."""
    width, depth, height = DIMS
    size, origin = np.array(DIMS), np.array([width / 2, depth / 2, 1.6])
    rotate = level_to_camera()
    positions: list[np.ndarray] = []
    triangles: list[tuple[int, int, int]] = []
    owners: list[int] = []
    surfaces: list[Surface] = []

    def add(name: str, low: np.ndarray, extent: np.ndarray, kind: str, index: int, outside: bool) -> None:
        corners = low + np.array(_FACES[name], float) * extent
        if not outside:
            corners = corners[::-1]
        base, along, across = corners[0], corners[1] - corners[0], corners[3] - corners[0]
        normal = rotate @ (np.cross(along, across) / np.linalg.norm(np.cross(along, across)))
        steps = np.arange(splits + 1) / splits
        grid = base + steps[:, None, None] * along + steps[None, :, None] * across
        first = sum(map(len, positions))
        positions.append(((grid - origin) @ rotate.T).reshape(-1, 3))
        offset = -float(normal @ positions[-1][0])
        area = float(np.linalg.norm(np.cross(along, across)))
        surfaces.append(Surface(index, np.append(normal, offset).astype(np.float32), area, kind))
        for i in range(splits):
            for j in range(splits):
                a = first + i * (splits + 1) + j
                b, c, d = a + splits + 1, a + splits + 2, a + 1
                triangles.extend([(a, b, c), (a, c, d)])
                owners.extend([len(surfaces) - 1] * 2)

    for name in _FACES:
        kind = name if name in ("floor", "ceiling") else "wall"
        add(name, np.zeros(3), size, kind, _MATERIALS[name], outside=False)
    for name in _FACES:
        add(name, np.array([0.4, 2.4, 0.1]), np.array([1.8, 0.9, 0.75]), "object", 4, outside=True)
    areas = [sum(surface.area_m2 for surface in surfaces if surface.material == index) for index in range(5)]
    materials = (
        material("plaster", [0.013, 0.015, 0.02, 0.03, 0.04, 0.05, 0.05, 0.06], 0.1, areas[0]),
        material("carpet", [0.02, 0.06, 0.14, 0.37, 0.6, 0.65, 0.65, 0.7], 0.3, areas[1]),
        material("acoustic tile: 60 %", [0.5, 0.7, 0.6, 0.7, 0.7, 0.5, 0.45, 0.4], 0.2, areas[2]),
        material("open window", [1.0] * 8, 0.0, areas[3]),
        material("wood", [0.15, 0.11, 0.1, 0.07, 0.06, 0.07, 0.07, 0.0], 0.95, areas[4]),
    )
    pose = np.eye(4, dtype=np.float32)
    second = np.eye(4, dtype=np.float32)
    second[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    second[:3, 3] = [0.5, 0.0, 0.25]
    intrinsics = np.array([[112, 0, 112], [0, 120, 84], [0, 0, 1]], np.float32)
    original = np.array([[10, 0, 0], [0, 10, 0], [0, 0, 1]], np.float32)
    owner = np.array(owners, np.int32)
    return AcousticScene(
        positions=np.concatenate(positions).astype(np.float32),
        triangles=np.array(triangles, np.int32),
        triangle_material=np.array([surfaces[index].material for index in owners], np.int32),
        triangle_surface=owner,
        materials=materials,
        surfaces=tuple(surfaces),
        cameras=(Camera(intrinsics, pose, 0.0, original), Camera(intrinsics, second, None, original)),
        room=Room(
            volume_m3=width * depth * height - 1.8 * 0.9 * 0.75,
            surface_m2=sum(areas),
            dims_m=DIMS,
            up=(rotate @ [0, 0, 1]).astype(np.float32),
            seen_area_fraction=0.7,
            rt60_by_method_s={"eyring": rt60} if rt60 is not None else {},
            rt60_method="eyring",
            air_absorption_per_m=AIR,
            metric=True,
            scale_source="request",
        ),
        warnings=("the wall behind the camera was not seen",),
    )
