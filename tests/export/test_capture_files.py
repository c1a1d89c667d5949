"""Filmed rooms are read from folders and from single files."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from export.vggt_audio.capture_files import find_captures, frame_rate, read_capture, read_folder
from export.vggt_audio.captures import Captures
from tests.filmed import HEIGHT, RATE, WIDTH, click_track, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"), [("30000/1001", "30000/1001"), (25, "25"), (59.94, "60000/1001"), (1, "1")]
)
def test_frame_rates_are_ratios(value: str | float, expected: str) -> None:
    assert frame_rate(value) == Fraction(expected)


@pytest.mark.parametrize("value", [0, -25, "nan", "fast", "1/0"])
def test_what_is_no_frame_rate_is_refused(value: str | float) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        frame_rate(value)


class TestFolders:
    def test_numbers_may_begin_at_one_and_another_rate_be_meant(self, folder: Path) -> None:
        assert read_folder(folder, numbered_from=1).numbers == (29, 11, 89)
        assert read_folder(folder, fps=1).fps == 1
        with pytest.raises(ValueError, match="numbered from 0"):
            read_folder(folder, numbered_from=13)

    def test_axes_are_turned_from_opengl_to_opencv(self, folder: Path) -> None:
        read = read_capture(folder)
        right, down, forward = read.world_from_camera[0, :3, :3].T
        assert right.tolist() == [1, 0, 0]
        assert down.tolist() == [0, 0, -1]
        assert forward.tolist() == [0, 1, 0]
        item = Captures([read], 3, HEIGHT, WIDTH, audio_s=0.1)[0]
        # The source lies 2 m ahead of the first camera; the third camera stands 7.8 m to its right.
        assert item["source_position"].tolist() == pytest.approx([0, 0, 2], abs=1e-6)
        assert item["pose_enc"][0, :7].tolist() == pytest.approx([0, 0, 0, 0, 0, 0, 1], abs=1e-6)
        assert item["pose_enc"][2, :3].tolist() == pytest.approx([-7.8, 0, 0], abs=1e-5)

    def test_intrinsics_follow_pictures_of_another_size_than_they_were_written_for(self, folder: Path) -> None:
        expected = [[50, 0, 32], [0, 55, 24], [0, 0, 1]]
        assert read_capture(folder).intrinsics[0].tolist() == expected

    def test_blender_folders_have_an_angle_and_no_suffix(self, folder: Path) -> None:
        scene = json.loads((folder / "transforms_train.json").read_text())
        for name in ("fl_x", "fl_y", "cx", "cy", "w", "h"):
            del scene[name]
        scene["camera_angle_x"] = math.pi / 2
        for frame in scene["frames"]:
            frame["file_path"] = frame["file_path"].removesuffix(".png")
        (folder / "transforms_train.json").write_text(json.dumps(scene))
        assert read_capture(folder).intrinsics[0] == pytest.approx(np.array([[32, 0, 32], [0, 32, 24], [0, 0, 1]]))

    def test_sound_of_another_rate_is_resampled(self, folder: Path) -> None:
        half = read_capture(folder, sample_rate=RATE // 2)
        assert half.binaural.shape == (2, 2 * RATE)
        assert half.sample_rate == RATE // 2


class TestDictionaries:
    @pytest.fixture
    def entry(self, folder: Path) -> dict[str, Any]:
        return {
            "images": ["frames/00012.png", "frames/00030.png"],
            "audio": {"source": "source_syn_re.wav", "binaural": "binaural_syn_re.wav", "source_position": [0, 0, 3]},
            "camera_params": {
                "extrinsics": [np.eye(4)[:3].tolist(), [[1, 0, 0, -2], [0, 1, 0, 0], [0, 0, 1, 0]]],
                "intrinsics": [[50, 0, 32], [0, 50, 24], [0, 0, 1]],
            },
            "acoustic_gt": {"rt60": [0.5] * 8, "absorption": [0.2] * 8},
            "frame_numbers": [12, 30],
            "fps": "30000/1001",
        }

    def test_json_names_pictures_and_sounds_by_path(self, folder: Path, entry: dict[str, Any]) -> None:
        (folder / "capture.json").write_text(json.dumps(entry))
        read = read_capture(folder / "capture.json")
        assert read.world_from_camera[1, :3, 3].tolist() == [2, 0, 0]
        item = Captures([read], 2, HEIGHT, WIDTH, audio_s=0.1)[0]
        assert item["binaural"][1, 0].argmax() == round(0.1 * RATE) // 2
        assert item["source_position"].tolist() == [0, 0, 3]
        assert item["room_absorption"].tolist() == pytest.approx([0.2] * 8)

    def test_npz_holds_everything(self, folder: Path, entry: dict[str, Any]) -> None:
        heard = click_track([12, 30], Fraction(30), 2)
        np.savez(
            folder / "capture.npz",
            **{
                "images": np.zeros((2, HEIGHT, WIDTH, 3), np.uint8),
                "audio/source": heard[0],
                "audio/binaural": heard,
                "audio/sample_rate": RATE,
                "camera_params/extrinsics": np.array(entry["camera_params"]["extrinsics"]),
                "camera_params/intrinsics": np.array(entry["camera_params"]["intrinsics"]),
                "frame_numbers": np.array([12, 30]),
                "fps": 30,
            },
        )
        item = Captures([read_capture(folder / "capture.npz")], 2, HEIGHT, WIDTH, audio_s=0.1)[0]
        assert item["binaural"][0, 0].argmax() == round(0.1 * RATE) // 2
        assert item["rt60"].isnan().all()

    def test_heads_that_stood_still_have_a_recording_each(self, folder: Path, entry: dict[str, Any]) -> None:
        for head in (0, 1):
            soundfile.write(folder / f"head{head}.wav", np.full((RATE, 2), 0.1 * (head + 1)), RATE, "FLOAT")
        entry["audio"]["binaural"] = ["head0.wav", "head1.wav"]
        (folder / "capture.json").write_text(json.dumps(entry))
        item = Captures([read_capture(folder / "capture.json")], 2, HEIGHT, WIDTH, audio_s=0.1)[0]
        assert item["binaural"][:, 0, 0].tolist() == pytest.approx([0.1, 0.2])
        assert item["audio_valid"].all()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"camera_params": {}}, "lacks 'extrinsics'"),
            ({"acoustic_gt": {"rt60": [1, 2]}}, "rt60"),
            ({"frame_numbers": [3, 3]}, "each differently"),
            ({"frame_numbers": [3]}, "numbers"),
            ({"images": []}, "at least|intrinsics|world_from_camera"),
            ({"camera_params": {"extrinsics": [1.0], "intrinsics": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}}, "matrices"),
        ],
    )
    def test_contradictions_are_named(
        self, folder: Path, entry: dict[str, Any], change: dict[str, Any], message: str
    ) -> None:
        (folder / "capture.json").write_text(json.dumps(entry | change))
        with pytest.raises(ValueError, match=message):
            read_capture(folder / "capture.json")

    def test_a_missing_or_doubtful_sound_is_named(self, folder: Path) -> None:
        (folder / "binaural_other.wav").write_bytes(b"")
        with pytest.raises(ValueError, match="more than one"):
            read_capture(folder)
        for path in folder.glob("binaural*.wav"):
            path.unlink()
        with pytest.raises(FileNotFoundError, match="binaural"):
            read_capture(folder)

    def test_a_picture_without_a_number_has_no_place_in_the_video(self, folder: Path) -> None:
        scene = json.loads((folder / "transforms_train.json").read_text())
        (folder / "frames/00012.png").rename(folder / "frames/door.png")
        scene["frames"][1]["file_path"] = "frames/door.png"
        (folder / "transforms_train.json").write_text(json.dumps(scene))
        with pytest.raises(ValueError, match="no number"):
            read_capture(folder)


def test_captures_are_found_in_a_folder_of_them(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    many = tmp_path_factory.mktemp("many")
    (many / "room").mkdir()
    inside = write_folder(many / "room")
    for name in ("b.npz", "c.json", "notes.txt"):
        (many / name).touch()
    (many / "frames").mkdir()
    assert find_captures(folder) == [folder]
    assert find_captures(many) == [many / "b.npz", many / "c.json", inside]
    assert find_captures(many / "b.npz") == [many / "b.npz"]
    for empty in (many / "frames", many / "absent"):
        with pytest.raises(FileNotFoundError, match="holds no capture"):
            find_captures(empty)
