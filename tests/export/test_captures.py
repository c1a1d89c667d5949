"""Filmed rooms are given to training with their cameras right and their sound in time."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from export.vggt_audio.capture_files import frame_rate, read_capture
from export.vggt_audio.captures import Capture, Captures, cut, fit, frame_sample
from tests.filmed import HEIGHT, RATE, WIDTH, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


def capture(count: int, **more: Any) -> Capture:
    fields: dict[str, Any] = {
        "images": [np.full((HEIGHT, WIDTH, 3), i, np.uint8) for i in range(count)],
        "numbers": tuple(range(count)),
        "world_from_camera": np.tile(np.eye(4), (count, 1, 1)),
        "intrinsics": np.tile(np.array([[50.0, 0, WIDTH / 2], [0, 50, HEIGHT / 2], [0, 0, 1]]), (count, 1, 1)),
        "fps": Fraction(30),
        "sample_rate": RATE,
        "source": np.zeros(RATE, np.float32),
        "binaural": np.zeros((2, RATE), np.float32),
        "source_position": np.full(3, np.nan),
        "rt60": np.full(8, np.nan, np.float32),
        "absorption": np.full(8, np.nan, np.float32),
    }
    return Capture(**(fields | more))


class TestTime:
    def test_no_frame_of_ten_minutes_is_off_by_more_than_half_a_sample(self) -> None:
        fps = frame_rate(29.97)
        assert fps == Fraction(30_000, 1001)
        for number in (1, 2, 17_982, 10**9):
            exact = number * RATE / fps
            assert abs(frame_sample(number, fps, RATE) - exact) <= Fraction(1, 2)
        assert [frame_sample(k + 1, fps, RATE) - frame_sample(k, fps, RATE) for k in range(5)] == [
            1602,
            1601,
            1602,
            1601,
            1602,
        ]

    def test_each_picture_hears_the_moment_of_its_own_number(self, folder: Path) -> None:
        item = Captures([read_capture(folder)], 3, HEIGHT, WIDTH, audio_s=0.1)[0]
        middle = round(0.1 * RATE) // 2
        assert item["images"][:, 0, 0, 0].tolist() == [12, 30, 90]  # in the order of the video
        for heard, number in zip(item["binaural"], (12, 30, 90), strict=True):
            assert int(heard[0].argmax()) == middle
            assert heard[:, middle].tolist() == pytest.approx([number / 1000] * 2)

    def test_the_source_is_heard_before_too_and_ends_are_silent(self) -> None:
        ramp = np.arange(RATE, dtype=np.float32)
        filmed = capture(3, numbers=(0, 15, 300), source=ramp, binaural=np.stack([ramp, ramp]))
        item = Captures([filmed], 3, HEIGHT, WIDTH, audio_s=0.5, lead_s=0.25)[0]
        length, lead = RATE // 2, RATE // 4
        assert item["source"].shape == (3, lead + length)
        assert item["source"][1, lead:].tolist() == item["binaural"][1, 0].tolist()
        assert item["binaural"][1, 0, 0] == RATE // 2 - length // 2
        assert item["binaural"][0, 0, : length // 2].abs().max() == 0
        assert item["audio_valid"].tolist() == [True, True, False]


def test_cutting_fills_with_silence_on_both_sides() -> None:
    sound = np.arange(1, 5, dtype=np.float32)[None]
    assert cut(sound, -2, 3).tolist() == [[0, 0, 1, 2, 3]]
    assert cut(sound, 2, 6).tolist() == [[3, 4, 0, 0]]
    assert cut(sound, 9, 11).tolist() == [[0, 0]]
    assert cut(sound, -9, -7).tolist() == [[0, 0]]


class TestCameras:
    def test_a_point_is_seen_where_the_fitted_camera_says(self) -> None:
        """A bright dot is found again at its projection after resizing and cropping."""
        picture = np.zeros((120, 200, 3), np.uint8)
        u, v = 88, 50  # the dot's middle, as the corner of the picture is (0, 0)
        picture[v - 4 : v + 4, u - 4 : u + 4] = 255
        matrix = np.array([[150.0, 0, 110], [0, 140, 55], [0, 0, 1]])
        ray = np.linalg.solve(matrix, [u, v, 1])
        for height, width in ((60, 60), (56, 98), (140, 84)):
            image, moved = fit(Image.fromarray(picture), matrix, height, width)
            assert image.shape == (height, width, 3)
            rows, columns = np.nonzero(image[..., 0] > 128)
            assert (moved @ ray)[:2] == pytest.approx([columns.mean() + 0.5, rows.mean() + 0.5], abs=0.6)

    def test_what_is_cut_off_leaves_the_principal_point_in_the_middle(self) -> None:
        matrix = np.array([[150.0, 0, 120], [0, 150, 60], [0, 0, 1]])
        _, moved = fit(Image.new("RGB", (200, 120)), matrix, 120, 120)
        assert moved[:2, 2].tolist() == [60, 60]
        assert moved[0, 0] == 150

    def test_transparent_becomes_white(self) -> None:
        image, _ = fit(Image.new("RGBA", (20, 20), (0, 0, 0, 0)), np.eye(3), 10, 10)
        assert image.min() == 255

    def test_fields_of_view_are_those_of_the_fitted_pictures(self) -> None:
        item = Captures([capture(1)], 1, HEIGHT, HEIGHT, audio_s=0.1)[0]
        angle = 2 * math.atan(HEIGHT / 2 / 50)
        assert item["pose_enc"][0, 7:].tolist() == pytest.approx([angle, angle], rel=1e-6)


class TestChunks:
    def test_every_picture_is_in_a_chunk_of_its_own_capture(self) -> None:
        dataset = Captures([capture(7), capture(3), capture(2)], 3, HEIGHT, WIDTH, audio_s=0.01)
        chunks = [dataset[i]["images"][:, 0, 0, 0].tolist() for i in range(len(dataset))]
        assert chunks == [[0, 1, 2], [3, 4, 5], [4, 5, 6], [0, 1, 2], [0, 1]]

    def test_items_are_what_training_takes(self) -> None:
        item = Captures([capture(4, rt60=np.full(8, 0.5, np.float32))], 4, 28, 42)[0]
        shapes = {name: tuple(value.shape) for name, value in item.items()}
        assert shapes == {
            "images": (4, 28, 42, 3),
            "pose_enc": (4, 9),
            "intrinsics": (4, 3, 3),
            "source_position": (3,),
            "rt60": (8,),
            "room_absorption": (8,),
            "binaural": (4, 2, RATE),
            "source": (4, RATE),
            "audio_valid": (4,),
        }
        assert item["images"].dtype == torch.uint8
        assert item["rt60"].tolist() == [0.5] * 8
        assert item["room_absorption"].isnan().all()
        assert item["source_position"].isnan().all()

    @pytest.mark.parametrize("index", [-1, 2])
    def test_an_index_outside_ends_the_iteration(self, index: int) -> None:
        with pytest.raises(IndexError):
            Captures([capture(4)], 2, HEIGHT, WIDTH)[index]

    def test_a_chunk_without_pictures_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            Captures([capture(4)], 0, HEIGHT, WIDTH)
