"""Cameras, normals, areas and volumes against reference numbers, analytic rooms and hostile poses."""

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.geometry import Cameras, mesh_volume, normals, pixel_areas, rotation_from_quaternion
from tests.rooms import PLASTER, BoxRoom, camera, encode, maps

# Made with VGGT's own code (facebookresearch/vggt, 44b3afb) for pictures of 84 x 56 pixels
POSE_ENC = np.array(
    [
        [0.9750766, -1.30362, 0.2376187, -0.9842493, 0.0022534, -0.0618918, 0.1655826, 0.8546658, 1.1046357],
        [-2.2754767, -1.438697, 1.3227466, -0.9404302, 0.2285616, 0.2178081, 0.1261355, 0.8675116, 1.1022774],
    ]
)
ROTATION = [
    [[0.9923286, 0.0160606, 0.1225803], [-0.0249323, -0.9451548, 0.3256701], [0.1210877, -0.326228, -0.9375037]],
    [[0.8006384, -0.4848392, -0.3520071], [-0.3749459, -0.863699, 0.3368084], [-0.467326, -0.1376781, -0.8732991]],
]
FOCAL = [[68.14875, 61.484833], [68.32901, 60.45236]]  # fx, fy
UNPROJECTED = {  # (row, column): depth, point of the first camera
    (0, 0): (1.3164988, (-1.6596444, -1.0461266, -1.0011341)),
    (2, 5): (1.1524467, (-1.4980718, -1.0956689, -0.7880378)),
    (4, 6): (0.9868483, (-1.4170816, -1.1364953, -0.5867329)),
}


def test_poses_decode_to_the_cameras_of_the_reference() -> None:
    cameras, usable = Cameras.decode(POSE_ENC, 56, 84)
    assert usable.all()
    np.testing.assert_allclose(cameras.rotation, ROTATION, atol=1e-6)
    np.testing.assert_allclose(cameras.translation, POSE_ENC[:, :3])
    np.testing.assert_allclose(cameras.intrinsics[:, [0, 1], [0, 1]], FOCAL, rtol=1e-5)
    np.testing.assert_array_equal(cameras.intrinsics[:, :2, 2], [[42, 28], [42, 28]])


def test_depth_unprojects_to_the_points_of_the_reference() -> None:
    cameras = Cameras.decode(POSE_ENC[:1], 56, 84)[0]
    for (row, column), (depth, point) in UNPROJECTED.items():
        found = cameras.unproject(np.array([[[depth]]]), np.array([row]), np.array([column]))
        np.testing.assert_allclose(found[0, 0, 0], point, atol=1e-5)


def test_a_quaternion_of_any_length_is_the_rotation_of_the_reference() -> None:
    quaternion = np.array([[1.018726, -0.719451, -0.6185897, -1.3381315]])
    expected = [
        [0.517112, -0.8371249, 0.1783732],
        [0.0508659, 0.2380881, 0.9699106],
        [-0.8544049, -0.4924793, 0.1656993],
    ]
    np.testing.assert_allclose(rotation_from_quaternion(quaternion)[0], expected, atol=1e-6)
    np.testing.assert_allclose(rotation_from_quaternion(1e-3 * quaternion)[0], expected, atol=1e-6)


def test_world_from_camera_inverts_the_pose_and_scales_with_it() -> None:
    cameras = Cameras.decode(POSE_ENC, 56, 84)[0]
    for camera_pose, rotation, translation in zip(
        cameras.world_from_camera, cameras.rotation, cameras.translation, strict=True
    ):
        np.testing.assert_allclose(rotation @ camera_pose[:3, 3] + translation, 0, atol=1e-12)
        np.testing.assert_allclose(rotation @ camera_pose[:3, :3], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(cameras.scaled(2).centers, 2 * cameras.centers)


@pytest.mark.parametrize(
    ("column", "value"), [(0, np.nan), (2, np.inf), (4, np.nan), (7, 0), (8, 0), (7, 4), (8, -1), (1, 1e30)]
)
def test_a_broken_pose_is_told_from_a_good_one(column: int, value: float) -> None:
    broken = POSE_ENC.copy()
    broken[1, column] = value
    cameras, usable = Cameras.decode(broken, 56, 84)
    assert usable.tolist() == [True, False]
    assert np.isfinite(cameras.intrinsics).all()
    assert np.isfinite(cameras.world_from_camera).all()


def test_a_quaternion_of_zero_is_no_rotation() -> None:
    broken = POSE_ENC.copy()
    broken[0, 3:7] = 0
    assert Cameras.decode(broken, 56, 84)[1].tolist() == [False, True]


def test_a_cube_map_shows_the_whole_surface_of_a_room() -> None:
    room, size = BoxRoom((6, 5, 3), (PLASTER,) * 6), 96
    up_and_down = [camera((2.5, 2.0, 1.4), 0, pitch) for pitch in (np.pi / 2, -np.pi / 2)]
    poses = [camera((2.5, 2.0, 1.4), yaw) for yaw in np.arange(4) * np.pi / 2] + up_and_down
    depth = maps(room, poses, size, size, np.pi / 2)["depth_map"][..., 0].astype(np.float64)
    cameras = Cameras.decode(encode(poses, np.pi / 2, np.pi / 2), size, size)[0]
    pixels = np.arange(size, dtype=np.float64)
    rays = cameras.rays(pixels, pixels)
    normal = normals(1 / depth, rays, 3)
    area = pixel_areas(depth, rays, normal, cameras.intrinsics[:, None, None])
    assert area.sum() == pytest.approx(2 * (6 * 5 + 5 * 3 + 6 * 3), rel=0.005)


@pytest.mark.parametrize("window", [3, 5])
def test_normals_of_a_slanted_plane_are_exact_and_face_the_camera(window: int) -> None:
    rays = Cameras.decode(POSE_ENC[:1], 56, 84)[0].rays(np.arange(0.0, 56, 4), np.arange(0.0, 84, 4))
    normal = np.array([0.3, -0.5, -0.8])
    normal /= np.linalg.norm(normal)
    disparity = -(rays @ normal) / 2.5
    found = normals(disparity, rays, window)
    np.testing.assert_allclose(found[disparity > 0], np.tile(normal, ((disparity > 0).sum(), 1)), atol=1e-7)


def test_normals_do_not_blur_over_an_edge() -> None:
    rays = Cameras.decode(POSE_ENC[:1], 56, 84)[0].rays(np.arange(0.0, 56, 2), np.arange(0.0, 84, 2))
    depth = np.where(rays[..., 0] < 0, 2.0, 3.0)  # two planes that face the camera, one behind the other
    found = normals(1 / depth, rays, 5)
    np.testing.assert_allclose(found, np.broadcast_to([0, 0, -1], found.shape), atol=1e-6)


def test_normals_of_nothing_face_the_camera() -> None:
    rays = Cameras.decode(POSE_ENC[:1], 56, 84)[0].rays(np.arange(0.0, 8), np.arange(0.0, 8))
    for disparity in (np.zeros((1, 8, 8)), np.full((1, 8, 8), np.nan)):
        found = normals(disparity, rays, 3)
        np.testing.assert_allclose((found * rays).sum(axis=-1), -np.linalg.norm(rays, axis=-1))


def test_a_picture_smaller_than_the_window_has_normals_too() -> None:
    rays = Cameras.decode(POSE_ENC[:1], 2, 2)[0].rays(np.arange(0.0, 2), np.arange(0.0, 2))
    assert np.isfinite(normals(np.ones((1, 2, 2)), rays, 3)).all()


def box_mesh(dims: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    corner = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = np.array([[q[a], q[b], q[c]] for q in quads for a, b, c in ((0, 1, 2), (0, 2, 3))])
    return corner * dims, triangles


def test_volume_of_a_closed_mesh_is_exact_wherever_it_is_and_however_it_turns() -> None:
    positions, triangles = box_mesh(np.array([6.0, 5.0, 3.0]))
    assert mesh_volume(positions, triangles) == pytest.approx(90, rel=1e-12)
    turned = positions @ np.array(ROTATION[0]).T + [10, -20, 30]
    assert mesh_volume(turned, triangles[:, ::-1]) == pytest.approx(90, rel=1e-5)
