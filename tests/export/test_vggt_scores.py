"""The scores of held-out rooms: nothing wrong scores zero, and what is wrong scores by how much."""

from io import BytesIO

import numpy as np
import pytest
import soundfile
from PIL import Image

from export.vggt_audio.held_out import HeldOut, Maps, Means, Scores
from export.vggt_audio.materials import CLASSES
from export.vggt_audio.scenes import Generator
from export.vggt_audio.textures import Texture


@pytest.fixture(scope="module")
def generator() -> Generator:
    chance = np.random.default_rng(1)
    pictures = {look: chance.integers(0, 255, (16, 16, 3), dtype=np.uint8) for look in CLASSES}
    return Generator("test", [Texture(look, look, picture, None) for look, picture in pictures.items()])


@pytest.fixture(scope="module")
def room(generator: Generator) -> HeldOut:
    return HeldOut(generator.scene(0, views=3, height=42, width=56), particles=300)


@pytest.fixture
def right(room: HeldOut) -> Maps:
    """The truth in the form of an answer."""
    return room.truth | {"depth_map": room.truth["depth"]}


def test_the_truth_scores_zero(room: HeldOut, right: Maps) -> None:
    score = Scores.of(room.truth, right, room.rt60, room.rt60)
    assert score.absorption.max() == score.scattering == score.depth == score.rt60.max() == 0
    assert score.material == 1
    assert score.rotation_deg == pytest.approx(0, abs=0.05)
    assert score.translation_m == pytest.approx(0, abs=1e-5)


def test_errors_score_by_their_size(room: HeldOut, right: Maps) -> None:
    cameras = right["extrinsics"].copy()
    cameras[1:] = np.diag([-1.0, 1.0, -1.0]) @ cameras[1:]  # each turned round where it stands
    wrong = right | {
        "depth_map": 1.2 * right["depth_map"],
        "absorption": right["absorption"] + 0.05,
        "extrinsics": cameras,
    }
    score = Scores.of(room.truth, wrong, room.rt60, 1.5 * room.rt60)
    assert score.depth == pytest.approx(0.2, rel=1e-5)
    np.testing.assert_allclose(score.absorption, 0.05, rtol=1e-4)
    np.testing.assert_allclose(score.rt60, 0.5)
    assert score.rotation_deg == pytest.approx(180, abs=0.1)
    assert score.translation_m == pytest.approx(0, abs=1e-5)
    far = right["extrinsics"].copy()
    far[1:, :, 3] += 0.5
    assert Scores.of(room.truth, right | {"extrinsics": far}, room.rt60, None).translation_m == pytest.approx(
        0.866, abs=0.01
    )


def test_a_system_without_maps_or_times_has_no_such_score(room: HeldOut) -> None:
    score = Scores.of(room.truth, None, room.rt60, None)
    assert np.isnan([score.depth, score.material, *score.absorption, *score.rt60]).all()
    whole = Scores.of(room.truth, None, room.rt60, room.rt60)
    assert Scores.mean([whole, whole]).rt60.tolist() == [0] * 8


def test_means_are_of_the_rooms(generator: Generator, room: HeldOut) -> None:
    mean = Means.of([room.scene])
    np.testing.assert_allclose(mean.absorption, room.truth["absorption"].mean(axis=(0, 1, 2)), rtol=1e-5)
    maps = mean.maps(room.truth, mean.absorption)
    assert maps["absorption"].shape == room.truth["absorption"].shape
    assert Scores.of(room.truth, maps, room.rt60, mean.rt60_s).rt60.max() < 0.3  # another, coarser Monte Carlo of it
    assert room.with_material(mean).shape == room.eyring().shape == (8,)


def test_a_room_is_posted_as_files_that_others_read(room: HeldOut) -> None:
    pictures = [np.asarray(Image.open(BytesIO(content))) for content in room.pictures()]
    np.testing.assert_array_equal(pictures, room.truth["images"])
    audio, timestamps = room.recording()
    samples, rate = soundfile.read(BytesIO(audio))
    assert rate == 48_000
    assert samples.shape == (3 * 48_000, 2)
    assert timestamps == [0.5, 1.5, 2.5]
