"""Generated scenes: the same seed the same room, exact maps, and sound that decays as physics says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from export.vggt_audio import decay, sound
from export.vggt_audio.dataset import GeneratedScenes, Shape
from export.vggt_audio.geometry import Box, Geometry, Patch
from export.vggt_audio.materials import CLASSES, ENTRIES, material
from export.vggt_audio.poses import decode_poses
from export.vggt_audio.scenes import Generator, Scene
from export.vggt_audio.textures import Texture
from tests.papered import papers


@pytest.fixture(scope="module")
def textures() -> list[Texture]:
    return papers()


@pytest.fixture(scope="module")
def generator(textures: list[Texture]) -> Generator:
    return Generator("train", textures)


@pytest.fixture(scope="module")
def scene(generator: Generator) -> Scene:
    return generator.scene(3, views=3, height=84, width=112)


def test_a_scene_follows_from_its_split_and_number(generator: Generator, textures: list[Texture], scene: Scene) -> None:
    again = generator.scene(3, views=3, height=84, width=112)
    for name, values in scene.example().items():
        np.testing.assert_array_equal(values, again.example()[name])
    assert again.rt60(200).tolist() == scene.rt60(200).tolist()
    assert generator.scene(4, 1, 28, 28).room.geometry != scene.room.geometry
    assert Generator("test", textures).scene(3, 1, 28, 28).room.geometry != scene.room.geometry


def test_a_room_does_not_depend_on_how_it_is_photographed(generator: Generator, scene: Scene) -> None:
    assert generator.scene(3, views=1, height=28, width=28).room.geometry == scene.room.geometry


def test_points_are_what_depth_and_poses_say(scene: Scene) -> None:
    """Each camera's depth, put through its pose, gives the points in the first camera's frame."""
    example = scene.example()
    poses = torch.from_numpy(example["pose_enc"])[None]
    extrinsics, intrinsics = (part[0].numpy() for part in decode_poses(poses, (84, 112)))
    v, u = np.mgrid[:84, :112]
    for k in range(3):
        focal, center = intrinsics[k, [0, 1], [0, 1]], intrinsics[k, :2, 2]
        z = example["depth"][k, ..., 0]
        camera = np.stack([(u - center[0]) / focal[0] * z, (v - center[1]) / focal[1] * z, z], axis=-1)
        rotation, translation = extrinsics[k, :, :3], extrinsics[k, :, 3]
        world = (camera - translation) @ rotation  # the inverse of a rotation is its transpose
        np.testing.assert_allclose(world, example["world_points"][k], atol=2e-3)
    np.testing.assert_allclose(extrinsics[0], np.eye(3, 4), atol=1e-6)


def test_every_point_lies_on_the_room_or_on_furniture(scene: Scene) -> None:
    dims = np.array(scene.room.geometry.dims)
    for view, picture in zip(scene.views, scene.pictures, strict=True):
        origin, direction = view.rays()
        points = origin + picture.depth.reshape(-1, 1) * direction
        on_shell = (np.minimum(np.abs(points), np.abs(points - dims)) < 1e-3).any(axis=1)
        assert (points > -1e-3).all()
        assert (points < dims + 1e-3).all()
        in_air = scene.room.geometry.contains(points.astype(np.float32), 2e-3)
        assert not (in_air & ~on_shell).any()


def test_maps_show_the_material_of_what_is_seen(scene: Scene) -> None:
    example = scene.example()
    for k, picture in enumerate(scene.pictures):
        for number in np.unique(picture.finish):
            finish, shown = scene.room.finishes[number], picture.finish == number
            assert (example["absorption"][k][shown] == finish.material.absorption).all()
            assert (example["material"][k][shown] == CLASSES.index(finish.material.look)).all()


def test_boxes_are_met_where_they_are() -> None:
    """A box turned by 30 degrees, against the distance along a ray found by walking it in small steps."""
    box = Box((2.0, 2.5, 0.5), (1.0, 0.6, 1.0), 0.5, finish=7)
    patch = Patch(1, (1.0, 0.5), (4.0, 2.0), finish=8)
    room = Geometry((5.0, 5.0, 3.0), (0, 1, 2, 3, 4, 5), (patch,), (box,))
    chance = np.random.default_rng(0)
    origin = np.tile(np.array([[0.5, 0.5, 1.2]], np.float32), (400, 1))
    direction = chance.standard_normal((400, 3)).astype(np.float32)
    hits = room.intersect(origin, direction)
    steps = np.linspace(0, 1, 4001)[None, :, None]
    for o, d, t, finish in zip(origin, direction, hits.distance, hits.finish, strict=True):
        path = (o + steps[0] * d * t * 1.2).astype(np.float32)
        left = np.flatnonzero(~room.contains(path, 0.0))
        assert left[0] == pytest.approx(4000 / 1.2, abs=8)
        assert finish in (0, 1, 2, 3, 4, 5, 7, 8)
    assert {7, 8} < set(hits.finish)


# T30 in seconds of bare boxes without air, by scattering: another Monte Carlo, written independently.
BOXES: dict[str, tuple[tuple[float, float, float], tuple[float, ...], dict[float, float]]] = {
    "uniform": ((6.0, 5.0, 3.0), (0.2,) * 6, {0.1: 0.5645, 0.5: 0.5327, 1.0: 0.5392}),
    "carpet": ((6.0, 5.0, 3.0), (0.05, 0.05, 0.05, 0.05, 0.6, 0.05), {0.1: 1.0367, 0.5: 0.5635}),
    "hall": ((20.0, 15.0, 8.0), (0.1, 0.1, 0.1, 0.1, 0.6, 0.15), {0.1: 2.3092, 0.5: 1.275}),
}


@pytest.mark.parametrize("name", BOXES)
def test_energy_decays_as_in_reference_rooms(name: str) -> None:
    dims, absorption, expected = BOXES[name]
    bands: NDArray[np.float64] = np.repeat(np.array(absorption)[:, None], 8, axis=1)
    for scattering, seconds in expected.items():
        times = decay.rt60(Geometry(dims, (0, 1, 2, 3, 4, 5), (), ()), bands, np.full(6, scattering), 12000, [0.0] * 8)
        np.testing.assert_allclose(times, seconds, rtol=0.05)


def test_air_shortens_high_bands(scene: Scene) -> None:
    geometry = Geometry((6.0, 5.0, 3.0), (0,) * 6, (), ())
    hard, rough = np.full((1, 8), 0.1), np.full(1, 0.5)
    with_air, without = decay.rt60(geometry, hard, rough, 1000), decay.rt60(geometry, hard, rough, 1000, [0.0] * 8)
    assert with_air[0] == pytest.approx(without[0], rel=0.02)
    assert with_air[7] < 0.45 * without[7]


def test_a_room_that_hardly_absorbs_has_no_rt60() -> None:
    geometry = Geometry((6.0, 5.0, 3.0), (0,) * 6, (), ())
    assert np.isnan(decay.rt60(geometry, np.full((1, 8), 1e-3), np.full(1, 0.5), 50, [0.0] * 8)).all()


def test_absorption_is_the_databases() -> None:
    assert material("carpet_tufted_9m", "carpet").absorption.tolist() == pytest.approx(
        [0.08, 0.08, 0.3, 0.6, 0.75, 0.8, 0.8, 0.8]
    )
    for look, names in ENTRIES.items():
        for name in names:
            entry = material(name, look)
            assert entry.absorption.shape == (8,)
            assert (entry.absorption >= 0).all()
            assert (entry.absorption <= 1).all()
            assert entry.impedance > 1


def test_a_recording_rings_as_long_as_its_room(scene: Scene) -> None:
    """In the pauses of the source a live room keeps sounding: its recording falls silent later than a dead room's."""
    quiet = []
    for seconds in (0.15, 2.5):
        heard = sound.recording(scene, np.full(8, seconds), np.random.default_rng(1)).heard
        assert heard.shape == (3, 2, 48_000)
        assert np.isfinite(heard).all()
        level = np.abs(heard[0]).mean(axis=0).reshape(-1, 480).mean(axis=1)
        quiet.append(np.percentile(level, 10) / level.max())
    assert quiet[0] < 0.5 * quiet[1]


def test_batches_have_their_shapes_and_come_once(generator: Generator) -> None:
    shapes = [Shape(2, 2, 42, 56), Shape(1, 3, 56, 42)]
    scenes = GeneratedScenes(generator, seed=0, start=0, shapes=shapes, heard=1.0)
    stream = iter(scenes)
    first, second, third = next(stream), next(stream), next(stream)
    assert first["images"].shape == (2, 2, 42, 56, 3)
    assert first["audio_features"].shape == (2, 2, 256)
    assert second["images"].shape == (1, 3, 56, 42, 3)
    assert not np.array_equal(first["images"], third["images"])
    np.testing.assert_array_equal(next(iter(GeneratedScenes(generator, 0, 2, shapes, 1.0)))["images"], third["images"])
    silent = GeneratedScenes(generator, seed=1, start=0, shapes=shapes, heard=0.0).batch(0)
    assert "audio_features" not in silent
    assert not np.array_equal(silent["images"], first["images"])


def test_training_and_held_out_pictures_share_no_texture(tmp_path: Path, textures: list[Texture]) -> None:
    """A room of a split is papered with that split's textures alone."""
    train = Generator("train", [texture for texture in textures if texture.id.endswith("-0")])
    used = {finish.texture.id for number in range(5) for finish in train.scene(number, 1, 28, 28).room.finishes}
    assert used
    assert all(name.endswith("-0") for name in used)
