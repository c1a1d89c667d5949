"""Stored rooms: what is shown of them again is as true as it was the first time."""

import numpy as np
import pytest
import torch

from export.vggt_audio.dataset import Shape
from export.vggt_audio.poses import decode_poses
from export.vggt_audio.replay import FIRST_ROOMS, StoredScenes, show
from export.vggt_audio.scenes import Example, Generator
from export.vggt_audio.store import HEARD, Store
from tests.papered import papers

HEIGHT, WIDTH = 84, 112


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(Generator("train", papers()), tmp_path_factory.mktemp("rooms"), 4, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def heard(store: Store) -> Example:
    return store.scene(0)


def test_a_room_is_made_once(store: Store) -> None:
    made = store.scene(1)
    (path,) = store.folder.glob("*-1.npz")
    stamp = path.stat().st_mtime_ns
    again = store.scene(1)
    assert path.stat().st_mtime_ns == stamp
    assert made.keys() == again.keys()
    assert all(np.array_equal(made[name], again[name]) for name in made)
    assert not list(store.folder.glob("*.part"))


def test_it_is_the_generator_s_room(store: Store, heard: Example) -> None:
    truth = store.generator.scene(0, 4, HEIGHT, WIDTH).example()
    np.testing.assert_array_equal(heard["images"], truth["images"])
    np.testing.assert_array_equal(heard["absorption"][heard["finish"]], truth["absorption"])
    np.testing.assert_array_equal(heard["material"][heard["finish"]], truth["material"])
    np.testing.assert_allclose(heard["depth"], truth["depth"][..., 0], rtol=1e-3)
    np.testing.assert_allclose(heard["pose_enc"], truth["pose_enc"], atol=1e-6)
    assert HEARD > 1
    assert "audio_features" in heard
    assert "audio_features" not in store.scene(1)


@pytest.mark.parametrize("shape", [Shape(1, 4, 84, 112), Shape(1, 3, 84, 56), Shape(1, 4, 42, 56), Shape(1, 2, 42, 28)])
def test_every_picture_sees_the_points_that_the_others_see(heard: Example, shape: Shape) -> None:
    """Whatever was turned, mirrored, cut and shrunk: cameras, depth and points still belong together."""
    met = 0
    for seed in range(6):
        shown = show(heard, shape, np.random.default_rng(seed))
        assert shown["images"].shape == (shape.views, shape.height, shape.width, 3)
        extrinsics, intrinsics = decode_poses(torch.from_numpy(shown["pose_enc"]), (shape.height, shape.width))
        torch.testing.assert_close(extrinsics[0], torch.eye(3, 4), atol=1e-5, rtol=0)
        for camera, lens, depth, own in zip(extrinsics, intrinsics, shown["depth"], range(shape.views), strict=True):
            points = torch.from_numpy(np.delete(shown["world_points"], own, axis=0)).reshape(-1, 3)
            seen = points @ camera[:, :3].T + camera[:, 3]
            column, row = ((seen @ lens.T)[:, :2] / seen[:, 2:]).round().long().T
            inside = (seen[:, 2] > 0.1) & (column >= 0) & (column < shape.width) & (row >= 0) & (row < shape.height)
            there = torch.from_numpy(depth[..., 0])[row[inside], column[inside]]
            error = (there / seen[inside, 2] - 1).abs()
            met += len(error)
            assert not len(error) or error.median() < 2.5 / shape.width  # depth of the nearest pixel
    assert met > 500


def test_mirrored_rooms_are_others(heard: Example) -> None:
    sides = {np.sign(show(heard, Shape(1, 2, 84, 112), np.random.default_rng(k))["pose_enc"][1, 4]) for k in range(12)}
    assert sides == {-1, 1}  # the second picture was taken to the left and to the right of the first


def test_batches_follow_from_their_number(store: Store) -> None:
    def batches(start: int = 0) -> StoredScenes:
        return StoredScenes(store, 2, 7, start, [Shape(3, 2, 42, 56), Shape(1, 4, 84, 112)], heard=1.0)

    first, second = batches().batch(0), batches().batch(1)
    assert first["images"].shape == (3, 2, 42, 56, 3)
    assert second["images"].shape == (1, 4, 84, 112, 3)
    assert np.array_equal(next(iter(batches(1)))["images"], second["images"])
    valid = first["audio_valid"]
    assert first["audio_features"].shape == (3, 2, 256)
    assert not first["audio_features"][~valid].any()
    assert FIRST_ROOMS > 2  # both rooms are there from the beginning
    silent = StoredScenes(store, 2, 7, 0, [Shape(3, 2, 42, 56)], heard=0.0).batch(0)
    assert "audio_features" not in silent
