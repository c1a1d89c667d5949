"""Axes and units of engines: the room stands upright in each, and is seen from inside."""

import numpy as np
import pytest

from service.models.acoustic_maps.formats.axes import Frame, FrameName, quaternion, turn
from tests.unit.acoustic_scene import DIMS, furnished_box

SCENE = furnished_box()
WIDTH, DEPTH, HEIGHT = DIMS


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("gltf", [-WIDTH / 2, -1.6, -DEPTH / 2], [WIDTH / 2, HEIGHT - 1.6, DEPTH / 2]),
        ("unity", [-WIDTH / 2, -1.6, -DEPTH / 2], [WIDTH / 2, HEIGHT - 1.6, DEPTH / 2]),
        ("unreal", [-DEPTH * 50, -WIDTH * 50, -160], [DEPTH * 50, WIDTH * 50, HEIGHT * 100 - 160]),
    ],
)
def test_a_room_that_was_seen_at_a_tilt_stands_upright(name: FrameName, low: list[float], high: list[float]) -> None:
    points = Frame.of(SCENE, name).points(SCENE.positions)
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [low, high], rtol=1e-5)


def test_opencv_leaves_the_scene_as_it_was_predicted() -> None:
    frame = Frame.of(SCENE, "opencv")
    np.testing.assert_array_equal(frame.points(SCENE.positions), SCENE.positions)
    np.testing.assert_array_equal(frame.pose(SCENE.cameras[1].world_from_camera), SCENE.cameras[1].world_from_camera)


@pytest.mark.parametrize("name", ["opencv", "gltf", "unity", "unreal"])
def test_triangles_turn_their_front_to_the_inside_in_every_frame(name: FrameName) -> None:
    frame = Frame.of(SCENE, name)
    corners = frame.points(SCENE.positions)[frame.triangles(SCENE.triangles)].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    planes = np.stack([frame.plane(surface.plane) for surface in SCENE.surfaces])[SCENE.triangle_surface]
    np.testing.assert_allclose(normals, planes[:, :3], atol=1e-5)
    distance = (planes[:, None, :3] * corners).sum(axis=-1) + planes[:, 3:]
    assert np.abs(distance).max() < 1e-5 * frame.scale
    shell = np.array([surface.kind != "object" for surface in SCENE.surfaces])[SCENE.triangle_surface]
    listener = frame.points(np.zeros(3))
    assert ((planes[shell, :3] @ listener + planes[shell, 3]) > 0).all()


@pytest.mark.parametrize(
    ("name", "forward", "up"),
    [("gltf", [0, 0, -1], [0, 1, 0]), ("unity", [0, 0, 1], [0, 1, 0]), ("unreal", [1, 0, 0], [0, 0, 1])],
)
def test_cameras_look_forward_and_down(name: FrameName, forward: list[int], up: list[int]) -> None:
    pose = Frame.of(SCENE, name).pose(SCENE.cameras[0].world_from_camera)[:3, :3]
    looks = pose @ forward
    assert looks @ forward == pytest.approx(np.cos(np.deg2rad(15)))
    assert looks @ up == pytest.approx(-np.sin(np.deg2rad(15)))
    assert np.linalg.det(pose) == pytest.approx(1)


@pytest.mark.parametrize("start", [[0, 1, 0], [0, -1, 0], [0, 0, 1], [1, 0, 0], [0.3, 1, -0.2]])
@pytest.mark.parametrize("end", [[0, -1, 0], [0, 0, 1], [0, 0, -1]])
def test_a_turn_is_a_rotation_to_the_wanted_direction(start: list[float], end: list[float]) -> None:
    rotation = turn(np.array(start, float), np.array(end, float))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ start, np.linalg.norm(start) * np.array(end), atol=1e-12)


def test_quaternions_are_those_of_the_rotation() -> None:
    for angle in (0.0, 1.0, np.pi):
        cosine, sine = np.cos(angle), np.sin(angle)
        found = quaternion(np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]]))
        wanted = np.array([0, np.sin(angle / 2), 0, np.cos(angle / 2)])
        assert min(np.abs(found - wanted).max(), np.abs(found + wanted).max()) < 1e-9
