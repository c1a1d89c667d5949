"""The hull of a room from samples: axes, sides, what is noise and what is furniture."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.frame import modes, room_axes
from service.acoustics.geometry import Cameras
from service.acoustics.room import OBJECT, OUTSIDE, SIDES, Hull, fit_hull
from service.acoustics.samples import Samples, sample
from tests.rooms import BRICK, CARPET, PLASTER, WOOD, Box, BoxRoom, camera, cameras, maps

BARE = BoxRoom((6, 5, 3), (PLASTER, PLASTER, WOOD, PLASTER, CARPET, BRICK))
FURNISHED = BoxRoom(
    (5, 4, 2.6),
    (PLASTER, PLASTER, BRICK, PLASTER, WOOD, PLASTER),
    (Box((1, 2, 0.25), (2, 1.6, 0.5), CARPET), Box((4.7, 1, 1), (0.6, 1.5, 2), WOOD)),
)


def look_at(arrays: dict[str, NDArray[np.float32]]) -> tuple[Samples, Cameras, Hull]:
    height, width = arrays["depth_map"].shape[1:3]
    found, usable = Cameras.decode(arrays["pose_enc"], height, width)
    assert usable.all()
    samples = sample(arrays, found, range(len(usable)))
    return samples, found, fit_hull(samples, found)


def noisy(arrays: dict[str, NDArray[np.float32]], chance: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """5 % of depth at every pixel, 1 % in each view as a whole, 3 cm and half a degree in every pose."""
    depth = arrays["depth_map"]
    factor = 1 + 0.05 * chance.standard_normal(depth.shape) + 0.01 * chance.standard_normal((len(depth), 1, 1, 1))
    pose = arrays["pose_enc"].copy()
    pose[1:, :3] += 0.03 * chance.standard_normal((len(depth) - 1, 3))
    pose[1:, 3:7] += 0.005 * chance.standard_normal((len(depth) - 1, 4))
    return {**arrays, "depth_map": (depth * factor).astype(np.float32), "pose_enc": pose.astype(np.float32)}


def up(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the room, in the frame of the camera at `pose`."""
    return np.linalg.inv(pose)[:3, :3] @ [0, 0, 1]


@pytest.mark.parametrize("room", [BARE, FURNISHED])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_room_seen_from_four_places_has_its_size(room: BoxRoom, seed: int) -> None:
    poses = cameras(room, 4, np.random.default_rng(seed))
    _, _, hull = look_at(maps(room, poses))
    assert hull.seen.all()
    assert hull.volume == pytest.approx(room.volume, rel=0.005)
    assert hull.dims[2] == pytest.approx(room.dims[2], rel=0.002)
    assert sorted(hull.dims[:2]) == pytest.approx(sorted(room.dims[:2]), rel=0.002)
    np.testing.assert_allclose(hull.axes[2], up(poses[0]), atol=1e-3)
    np.testing.assert_allclose(hull.axes @ hull.axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(hull.axes) == pytest.approx(1)


@pytest.mark.parametrize("room", [BARE, FURNISHED])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_of_depth_and_poses_moves_the_volume_little(room: BoxRoom, seed: int) -> None:
    chance = np.random.default_rng(seed)
    poses = cameras(room, 6, chance)
    _, _, hull = look_at(noisy(maps(room, poses, 112, 154), chance))
    assert hull.volume == pytest.approx(room.volume, rel=0.1)
    assert hull.axes[2] @ up(poses[0]) > np.cos(np.deg2rad(6))


def test_samples_are_told_apart_by_what_they_are_on() -> None:
    poses = cameras(FURNISHED, 4, np.random.default_rng(5))
    samples, _, hull = look_at(maps(FURNISHED, poses))
    world = samples.points @ poses[0][:3, :3].T + poses[0][:3, 3]
    margin = np.minimum(world, np.array(FURNISHED.dims) - world).min(axis=1)
    assert (hull.side[margin > 0.05] == OBJECT).all()
    assert (hull.side[margin < 0.01] >= 0).mean() > 0.99
    assert (hull.side != OUTSIDE).all()
    floor, ceiling = hull.side == SIDES - 2, hull.side == SIDES - 1
    assert world[floor, 2].max() < 0.05
    assert world[ceiling, 2].min() > 2.55


def test_what_a_window_shows_is_outside() -> None:
    poses = cameras(BARE, 4, np.random.default_rng(6))
    arrays = maps(BARE, poses)
    arrays["depth_map"][:, 20:40, 30:60] = 25
    _, _, hull = look_at(arrays)
    assert hull.volume == pytest.approx(BARE.volume, rel=0.02)
    assert 0.03 < (hull.side == OUTSIDE).mean() < 0.12


def test_a_side_that_nobody_saw_lies_behind_the_cameras() -> None:
    poses = [camera((1.0, y, 1.5), 0, pitch) for y in (1.5, 3.5) for pitch in (-0.4, 0.4)]
    _, found, hull = look_at(maps(BARE, poses, fov_w=np.deg2rad(90)))
    assert (~hull.seen).sum() == 1
    axis, end = divmod(int(np.flatnonzero(~hull.seen)[0]), 2)
    behind = (found.centers @ hull.axes[axis] - (hull.low, hull.high)[end][axis]) * (1 - 2 * end)
    assert (behind > 0.1).all()
    assert (behind < 1).all()


def test_the_hull_does_not_depend_on_where_the_world_is() -> None:
    poses = cameras(BARE, 4, np.random.default_rng(7))
    first = look_at(maps(BARE, poses))[2]
    other = look_at(maps(BARE, poses[::-1]))[2]
    assert first.volume == pytest.approx(other.volume, rel=0.002)


def test_one_wall_alone_gets_axes_from_the_camera() -> None:
    normals = np.tile([0.0, 0, -1], (50, 1))
    axes = room_axes(normals, np.ones(50), np.array([[0.0, -1, 0]]))
    np.testing.assert_allclose(axes[2], [0, -1, 0], atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_modes_are_the_directions_that_most_normals_share() -> None:
    chance = np.random.default_rng(8)
    truth = np.array([[1.0, 0, 0], [0, 1, 0]])
    normals = np.repeat(truth, [600, 300], axis=0) * chance.choice([-1, 1], 900)[:, None]
    normals += 0.05 * chance.standard_normal((900, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = modes(normals, 2, apart=0.5)
    np.testing.assert_allclose(np.abs(found @ truth.T), np.eye(2), atol=0.05)
