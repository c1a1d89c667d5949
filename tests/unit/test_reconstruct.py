"""From maps to the acoustic scene: reverberation, materials, scale, and maps that make no sense."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.acoustics.geometry import mesh_volume
from service.acoustics.reconstruct import reconstruct
from service.acoustics.reverberation import eyring
from service.acoustics.scene import AcousticScene, NoRoom
from service.acoustics.values import MIN_SEEN_FRACTION, Options
from tests.rooms import ABSORPTION, BRICK, CARPET, CURTAIN, PLASTER, WOOD, Box, BoxRoom, camera, cameras, maps

Maps = dict[str, NDArray[Any]]

STILL_AIR = np.zeros(8)
BARE = BoxRoom((6, 5, 3), (PLASTER, PLASTER, WOOD, PLASTER, CARPET, BRICK))
LIVING = BoxRoom((6, 5, 3), (BRICK, BRICK, BRICK, BRICK, CARPET, PLASTER))
CARPETED = BoxRoom((6, 5, 3), (PLASTER, PLASTER, PLASTER, PLASTER, CARPET, PLASTER))
RUG = BoxRoom((6, 5, 3), (PLASTER,) * 4 + (WOOD, PLASTER), rug=(2.0, 1.5, 4.0, 3.5, CARPET))
FURNISHED = BoxRoom(
    (5, 4, 2.6),
    (PLASTER, PLASTER, BRICK, PLASTER, WOOD, PLASTER),
    (
        Box((1, 2, 0.25), (2, 1.6, 0.5), CARPET),
        Box((4.7, 1, 1), (0.6, 1.5, 2), WOOD),
        Box((3.2, 2.6, 0.4), (0.9, 0.8, 0.8), CURTAIN, 0.5),
    ),
)


def views(room: BoxRoom, count: int = 4, seed: int = 0) -> Maps:
    return maps(room, cameras(room, count, np.random.default_rng(seed)))


def rt60(scene: AcousticScene) -> NDArray[np.float32]:
    assert scene.room.rt60_s is not None
    return scene.room.rt60_s


def truth(room: BoxRoom) -> NDArray[np.float64]:
    air = room.volume - sum(float(np.prod(box.size)) for box in room.boxes)
    return eyring(air, room.areas(), ABSORPTION, STILL_AIR)


def by_pixel_mean(room: BoxRoom, arrays: Maps) -> NDArray[np.float64]:
    """What averaging the absorption of all pixels says of the room, its true volume and surface given."""
    mean = arrays["absorption"].reshape(-1, 8).mean(axis=0)
    return eyring(room.volume, [room.areas().sum()], mean[None].astype(np.float64), STILL_AIR)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("room", [LIVING, CARPETED])
def test_filled_sides_are_right_where_the_mean_of_pixels_is_far_off(room: BoxRoom, count: int, seed: int) -> None:
    # level and wide, pictures show little of the floor and the ceiling
    arrays = maps(room, cameras(room, count, np.random.default_rng(seed), tilt=0), 56, 112, np.deg2rad(70))
    found = rt60(reconstruct(arrays, Options(metric=True, air_per_m=STILL_AIR)))
    np.testing.assert_allclose(found, truth(room), rtol=0.03)
    assert np.abs(by_pixel_mean(room, arrays) / truth(room) - 1).max() > 0.2


@pytest.mark.parametrize(("room", "limit"), [(RUG, 0.05), (FURNISHED, 0.15)])
def test_rugs_and_furniture_leave_a_small_error(room: BoxRoom, limit: float) -> None:
    errors = []
    for seed in range(4):
        arrays = views(room, 6, seed)
        errors.append(rt60(reconstruct(arrays, Options(metric=True, air_per_m=STILL_AIR))) / truth(room) - 1)
    assert np.abs(errors).mean() < limit / 2
    assert np.abs(errors).max() < limit * 1.5


def test_the_scene_describes_the_room() -> None:
    scene = reconstruct(views(FURNISHED, 6), Options(metric=True))
    room = scene.room
    assert room.dims_m is not None
    assert room.volume_m3 is not None
    assert sorted(room.dims_m[:2]) == pytest.approx([4, 5], rel=0.01)
    assert room.dims_m[2] == pytest.approx(2.6, rel=0.01)
    assert room.volume_m3 == pytest.approx(52 - 1.6 - 1.8 - 0.576, rel=0.05)
    assert (room.metric, room.scale_source, room.rt60_method) == (True, "model", "eyring")
    labels = [material.label for material in scene.materials]
    assert len(labels) == 5
    assert {"hard_surface", "carpet_tufted_9m", "wood_1.6cm", "curtains_cotton_0.5"} < set(labels)
    for material in scene.materials:
        assert material.distance < 0.05
        assert material.confidence == pytest.approx(0.8, abs=1e-3)
        assert 0 <= material.reflection <= 1 - material.absorption.max() + 1e-6
        assert material.impedance.real >= 1
    areas = np.bincount([s.material for s in scene.surfaces], [s.area_m2 for s in scene.surfaces])
    np.testing.assert_allclose(areas, [material.area_m2 for material in scene.materials])
    assert areas.sum() == pytest.approx(room.surface_m2)
    assert {surface.kind for surface in scene.surfaces} == {"floor", "ceiling", "wall", "object"}


def test_triangles_belong_to_surfaces_of_their_material_and_plane() -> None:
    scene = reconstruct(views(FURNISHED, 6), Options(metric=True))
    assert scene.positions.dtype == np.float32
    assert scene.triangles.dtype == scene.triangle_material.dtype == scene.triangle_surface.dtype == np.int32
    assert len(scene.triangles) <= 1000
    corner = scene.positions[scene.triangles]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    for points, across, material, number in zip(
        corner, normal, scene.triangle_material, scene.triangle_surface, strict=True
    ):
        surface = scene.surfaces[number]
        assert surface.material == material
        np.testing.assert_allclose(points @ surface.plane[:3] + surface.plane[3], 0, atol=1e-4)
        assert across @ surface.plane[:3] > 0
    assert mesh_volume(scene.positions, scene.triangles) == pytest.approx(scene.room.volume_m3, rel=0.05)


def test_cameras_stand_where_the_pictures_were_taken() -> None:
    poses = cameras(BARE, 4, np.random.default_rng(0))
    crop = np.tile(np.diag([8.0, 8.0, 1.0]), (4, 1, 1))
    times = [0.0, 0.5, 1.0, 1.5]
    scene = reconstruct(maps(BARE, poses), Options(scale=2), timestamps=times, original_from_model=crop)
    for found, pose, time in zip(scene.cameras, poses, times, strict=True):
        expected = np.linalg.inv(poses[0]) @ pose
        expected[:3, 3] *= 2
        np.testing.assert_allclose(found.world_from_camera, expected, atol=1e-4)
        assert found.timestamp_s == time
        np.testing.assert_array_equal(found.original_from_model, crop[0])


def test_one_view_makes_a_guess_of_a_room_and_says_so() -> None:
    scene = reconstruct(views(BARE, 1), Options(metric=True))
    assert scene.room.volume_m3 == pytest.approx(BARE.volume, rel=0.7)
    assert scene.room.rt60_s is not None
    assert any("4 or more views" in warning for warning in scene.warnings)
    assert any("not seen" in warning or "was seen" in warning for warning in scene.warnings)
    assert len(scene.triangles) >= 12


def test_views_of_one_corner_are_too_little() -> None:
    poses = [camera((1 + 0.1 * i, 1, 1.5), 0.8, 0) for i in range(4)]
    scene = reconstruct(maps(BoxRoom((12, 10, 6), BARE.faces), poses, fov_w=np.deg2rad(35)), Options(metric=True))
    assert scene.room.seen_area_fraction < MIN_SEEN_FRACTION
    assert scene.room.rt60_s is None
    assert any("less than 20%" in warning for warning in scene.warnings)


def test_a_silent_surface_does_not_decay() -> None:
    arrays = views(BARE)
    arrays["absorption"][..., 0] = 0
    scene = reconstruct(arrays, Options(metric=True, air_per_m=STILL_AIR))
    assert np.isnan(rt60(scene)[0])
    assert np.isfinite(rt60(scene)[1:]).all()
    assert any("do not decay" in warning for warning in scene.warnings)


def test_the_same_maps_make_the_same_scene() -> None:
    arrays = views(FURNISHED)
    one, other = reconstruct(arrays), reconstruct(arrays)
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.triangle_material, other.triangle_material)
    assert one.surfaces[0].area_m2 == other.surfaces[0].area_m2


def assert_finite(scene: AcousticScene) -> None:
    assert np.isfinite(scene.positions).all()
    assert scene.triangles.max() < len(scene.positions)
    for material in scene.materials:
        assert np.isfinite(material.absorption).all()
        assert np.isfinite([material.area_m2, material.distance, material.reflection, material.scattering]).all()
    for surface in scene.surfaces:
        assert np.isfinite(surface.plane).all()
        assert surface.area_m2 >= 0
    assert 0 <= scene.room.seen_area_fraction <= 1


@pytest.mark.parametrize(
    "name", ["depth_map", "absorption", "depth_conf", "acoustic_conf", "impedance", "pose_enc", "pose_conf"]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0, -1, 1e30])
def test_patches_of_nonsense_are_left_out(name: str, value: float) -> None:
    arrays = views(BARE)
    arrays[name][1:2, ...] = value
    assert_finite(reconstruct(arrays, Options(metric=True)))


def test_random_maps_make_some_scene() -> None:
    chance = np.random.default_rng(0)
    for shape in ((1, 1, 1), (1, 2, 3), (2, 4, 4), (3, 14, 28), (1, 1, 300)):
        arrays = {name: chance.standard_normal((*shape, n)) for name, n in (("depth_map", 1), ("absorption", 8))}
        arrays |= {name: chance.standard_normal((*shape, 1)) for name in ("reflection", "scattering")}
        arrays |= {"impedance": chance.standard_normal((*shape, 2)), "depth_conf": chance.standard_normal(shape)}
        arrays |= {
            "acoustic_conf": chance.standard_normal(shape),
            "pose_conf": np.full(shape[0], 2.0),
            "pose_enc": np.abs(chance.random((shape[0], 9))) + 0.1,
        }
        arrays["depth_map"][0, 0, 0] = 2.0
        assert_finite(reconstruct(arrays))


def test_a_sheet_that_hangs_in_the_room_is_an_object_of_some_thickness() -> None:
    room = BoxRoom((6, 5, 3), (PLASTER,) * 6, (Box((3, 2.5, 1.5), (0.002, 1.5, 1.0), CURTAIN),))
    scene = reconstruct(views(room, 6), Options(metric=True))
    assert_finite(scene)
    sheet = [surface for surface in scene.surfaces if surface.kind == "object" and surface.area_m2 > 0.5]
    assert sum(surface.area_m2 for surface in sheet) == pytest.approx(3, rel=0.2)  # both of its faces
    assert scene.room.volume_m3 == pytest.approx(90, rel=0.01)


def test_one_flat_wall_is_a_scene_without_room_values() -> None:
    arrays = views(BARE, 1)
    arrays["depth_map"][:] = 2
    scene = reconstruct(arrays)
    assert_finite(scene)
    assert scene.room.rt60_s is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth_map": 0}, "no view shows anything"),
        ({"absorption": np.nan}, "no view shows anything"),
        ({"pose_enc": 0}, "no view has a usable camera"),
    ],
)
def test_nothing_at_all_is_refused(change: dict[str, float], message: str) -> None:
    arrays = views(BARE, 2)
    for name, value in change.items():
        arrays[name][:] = value
    with pytest.raises(NoRoom, match=message):
        reconstruct(arrays)


@pytest.mark.parametrize("name", ["depth_map", "pose_enc", "acoustic_conf"])
def test_maps_that_lack_or_do_not_fit_are_named(name: str) -> None:
    arrays = views(BARE, 2)
    with pytest.raises(ValueError, match=name):
        reconstruct({key: value for key, value in arrays.items() if key != name})
    with pytest.raises(ValueError, match=r"shape"):
        reconstruct({**arrays, name: arrays[name][:, :-1]})
