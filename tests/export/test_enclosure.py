"""The box that sound is rendered in is the room that was seen."""

import math

import pytest
import torch
from torch import Tensor

from export.vggt_audio.enclosure import estimated, known, pixel_areas

DIMS = torch.tensor([5.0, 4.0, 2.8])
SOURCE = torch.tensor([1.2, 3.1, 1.5])
# Level cameras of a world whose y is down, as that of a first camera that was held level.
WORLD_FROM_ROOM = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def about(axis: int, angle: float) -> Tensor:
    matrix, (a, b) = torch.eye(3), [k for k in range(3) if k != axis]
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    return matrix


def walls(number: int = 3000) -> Tensor:
    """[1, 1, N, 3] points on all six walls in the room's frame."""
    points = torch.rand(number, 3, generator=torch.Generator().manual_seed(0)) * DIMS
    for wall in range(6):
        points[wall::6, wall // 2] = DIMS[wall // 2] * (wall % 2)
    return points[None, None]


def filmed(yaw: float, cameras: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points, extrinsics [S, 3, 4] and source in a world that is turned against the room; places [S, 3] in the room."""
    turn = about(1, yaw) @ WORLD_FROM_ROOM
    shift = torch.tensor([0.3, -0.2, 1.7])
    extrinsics = []
    for number, place in enumerate(cameras):
        rotation = about(0, 0.1 * (-1) ** number) @ about(1, 1.5 * number)  # looks round, up and down by turns
        extrinsics.append(torch.cat([rotation, -(rotation @ (turn @ place + shift))[:, None]], dim=1))
    return walls() @ turn.T + shift, torch.stack(extrinsics), turn @ SOURCE + shift


CAMERAS = torch.tensor([[2.0, 2, 1.6], [2.2, 1.9, 1.6], [2.1, 2.1, 1.5], [2.5, 2.0, 1.7]])


@pytest.mark.parametrize("degrees", [0, 20, 45, 110])
def test_a_room_is_found_however_the_world_is_turned(degrees: float) -> None:
    room = estimated(*filmed(math.radians(degrees), CAMERAS))
    assert room is not None
    assert sorted(room.dims.tolist()) == pytest.approx(sorted(DIMS.tolist()), rel=0.02)
    assert room.dims[2].item() == pytest.approx(2.8, rel=0.02)
    places = room.world_from_camera[:, :3, 3]
    assert places[:, 2].tolist() == pytest.approx(CAMERAS[:, 2].tolist(), abs=0.05)
    assert room.source[2].item() == pytest.approx(1.5, abs=0.05)
    apart = (places - room.source).norm(dim=1)
    assert apart.tolist() == pytest.approx((CAMERAS - SOURCE).norm(dim=1).tolist(), rel=1e-4)
    distance = torch.stack([room.points, room.dims - room.points]).abs().amin(dim=(0, -1))
    assert (distance < room.near_m).float().mean() > 0.95
    down = room.world_from_camera[:, :3, 1]
    assert (down[:, 2] < -0.99).all()


def test_cameras_and_ears_keep_their_directions() -> None:
    """The source is as far to the right of each camera as it was."""
    points, extrinsics, source = filmed(0.6, CAMERAS)
    room = estimated(points, extrinsics, source)
    assert room is not None
    before = extrinsics[:, :, :3] @ source + extrinsics[:, :, 3]
    after = torch.linalg.inv(room.world_from_camera) @ torch.cat([room.source, torch.ones(1)])
    assert torch.allclose(after[:, :3], before, atol=1e-4)


def test_what_was_not_seen_all_around_is_no_room() -> None:
    points, extrinsics, source = filmed(0.3, CAMERAS)
    assert estimated(points, extrinsics, torch.full((3,), math.nan)) is None
    assert estimated(points, extrinsics, source + 10) is None
    assert estimated(points.fill_(math.nan), extrinsics, source) is None
    ahead = torch.tensor([[0.0, 0, 3]]) + 0.5 * torch.rand(1, 1, 500, 3)  # a wall before one camera
    assert estimated(ahead, torch.eye(3, 4)[None], torch.tensor([0.0, 0, 2])) is None
    corner = 0.4 * torch.rand(1, 1, 500, 3) - 0.2  # all around, but too small to stand in
    assert estimated(corner, torch.eye(3, 4)[None], torch.zeros(3)) is None


def test_a_generated_room_is_what_it_is() -> None:
    pose = torch.eye(4)
    pose[:3, :3], pose[:3, 3] = WORLD_FROM_ROOM.T, CAMERAS[0]
    scene = {
        "dims": DIMS,
        "world_points": (walls() - CAMERAS[0]) @ pose[:3, :3],
        "world_from_camera": pose[None],
        "source_position": SOURCE,
    }
    room = known(scene)
    assert torch.allclose(room.points, walls(), atol=1e-5)


def wall_ahead(slope: float) -> Tensor:
    """[1, H, W, 3] where rays of a camera at the origin meet the plane z = 2 + slope * x."""
    v, u = torch.meshgrid(torch.linspace(-0.5, 0.5, 81), torch.linspace(-0.5, 0.5, 101), indexing="ij")
    depth = 2 / (1 - slope * u)
    return (torch.stack([u, v, torch.ones_like(u)], dim=-1) * depth[..., None])[None]


@pytest.mark.parametrize("slope", [0.0, 0.8])
def test_pixels_show_as_much_as_lies_between_them(slope: float) -> None:
    points = wall_ahead(slope)
    areas = pixel_areas(points, torch.zeros(1, 3))[0]
    left, right = points[0, :, 0], points[0, :, -1]
    width = (right[40] - left[40]).norm()  # at the height of the camera the slope is met at a right angle
    trapezium = width * ((left[-1] - left[0]).norm() + (right[-1] - right[0]).norm()) / 2
    assert areas.sum().item() == pytest.approx(trapezium.item(), rel=0.04)  # half a pixel on each side


def test_a_step_of_depth_is_no_surface() -> None:
    points = wall_ahead(0.0)
    points[:, :, 50:] *= 3
    areas = pixel_areas(points, torch.zeros(1, 3))[0]
    assert torch.allclose(areas[:, 49], areas[:, 48], rtol=0.1)
    assert torch.allclose(areas[:, 50], 9 * areas[:, 49], rtol=0.1)
