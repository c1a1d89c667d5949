"""Captures on disk: NeRF-style folders of a filmed room, and pictures, sound and cameras in one JSON or npz file.

A folder has ``transforms_train.json`` as nerfstudio writes it (fl_x, fl_y, cx, cy, w, h; frames with file_path and
transform_matrix; here also fps and source_position), one ``source*.wav`` and one ``binaural*.wav``. Its cameras have
OpenGL's axes, which are turned into OpenCV's. The last number in a picture's name is that of its frame in the video.

A file has images; audio with source, binaural and source_position; camera_params with extrinsics (camera from world,
OpenCV) and intrinsics; and, where they are known, acoustic_gt with rt60 and absorption, fps and frame_numbers. In JSON,
pictures and sounds are paths; in npz, nested names are joined by a slash (``audio/source``), pictures and sounds are
arrays, and audio/sample_rate says the sounds' rate.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from export.vggt_audio.captures import Capture, Matrices, Sound

OPENCV_FROM_OPENGL: Matrices = np.diag([1.0, -1.0, -1.0, 1.0])
NTSC = tuple(Fraction(nominal * 1000, 1001) for nominal in (24, 30, 48, 60, 120, 240))
UNKNOWN = np.full(8, np.nan, np.float32)


def find_captures(path: Path, split: str = "train") -> list[Path]:
    """What `read_capture` takes: the path itself if it is a capture, or all captures that lie in the folder, by name.

    Raises FileNotFoundError if there are none.
    """

    def is_capture(candidate: Path) -> bool:
        return candidate.suffix in (".json", ".npz") or (candidate / f"transforms_{split}.json").is_file()

    found = [path] if is_capture(path) else sorted(filter(is_capture, path.iterdir() if path.is_dir() else []))
    if not found:
        raise FileNotFoundError(f"{path} holds no capture: no transforms_{split}.json, .json or .npz")
    return found


def read_capture(path: Path, sample_rate: int = 48_000, split: str = "train") -> Capture:
    """The capture of a folder, a .json or an .npz file, its sound resampled to one rate.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: something in it is missing or contradicts the rest.
    """
    try:
        if path.is_dir():
            return read_folder(path, sample_rate, split)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return from_dictionary(nested(arrays), path.parent, sample_rate)
        return from_dictionary(json.loads(path.read_text(encoding="utf-8")), path.parent, sample_rate)
    except KeyError as error:
        raise ValueError(f"{path} lacks {error}") from error


def read_folder(
    folder: Path,
    sample_rate: int = 48_000,
    split: str = "train",
    fps: str | float | None = None,
    numbered_from: int = 0,
) -> Capture:
    """A NeRF-style folder.

    `fps`: of the video that the pictures are numbered in; what the folder says, or 30, if left out. Pictures taken once
    a second and numbered by the second, as in AV-NeRF's rooms (Liang et al., 2023), have 1. `numbered_from`: the number
    of its first frame, which is 1 when ffmpeg wrote the pictures.
    """
    scene = json.loads((folder / f"transforms_{split}.json").read_text(encoding="utf-8"))
    if not scene["frames"]:
        raise ValueError(f"{folder} has no frames")
    paths = [picture_path(folder, frame["file_path"]) for frame in scene["frames"]]
    poses = matrices([frame["transform_matrix"] for frame in scene["frames"]])
    source, binaural = (only(folder, pattern) for pattern in ("source*.wav", "binaural*.wav"))
    return Capture(
        images=paths,
        numbers=tuple(frame_number(path) - numbered_from for path in paths),
        world_from_camera=poses @ OPENCV_FROM_OPENGL,
        intrinsics=np.stack([camera(scene | frame, path) for frame, path in zip(scene["frames"], paths, strict=True)]),
        fps=frame_rate(scene.get("fps", 30) if fps is None else fps),
        sample_rate=sample_rate,
        source=read_sound(source, sample_rate).mean(axis=0),
        binaural=read_sound(binaural, sample_rate),
        source_position=np.asarray(scene.get("source_position", [math.nan] * 3), np.float64),
        rt60=known(scene.get("rt60")),
        absorption=known(scene.get("absorption")),
    )


def from_dictionary(entry: Mapping[str, Any], folder: Path, sample_rate: int = 48_000) -> Capture:
    """The dictionary format; paths are relative to `folder`."""
    audio, cameras, truth = entry["audio"], entry["camera_params"], entry.get("acoustic_gt") or {}
    images = [folder / image if isinstance(image, str) else image for image in entry["images"]]
    count = len(images)
    rate = int(audio.get("sample_rate", sample_rate))
    source, binaural = (sounds(audio[name], folder, rate, sample_rate) for name in ("source", "binaural"))
    numbers = entry.get("frame_numbers")
    return Capture(
        images=images,
        numbers=tuple(range(count)) if numbers is None else tuple(int(number) for number in numbers),
        world_from_camera=np.linalg.inv(matrices(cameras["extrinsics"])).astype(np.float64),
        intrinsics=np.broadcast_to(np.asarray(cameras["intrinsics"], np.float64), (count, 3, 3)).copy(),
        fps=frame_rate(entry.get("fps", 30)),
        sample_rate=sample_rate,
        source=source.reshape(-1, source.shape[-1]).mean(axis=0),
        binaural=binaural,
        source_position=np.asarray(audio.get("source_position", [math.nan] * 3), np.float64),
        rt60=known(truth.get("rt60")),
        absorption=known(truth.get("absorption")),
    )


def nested(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """{"audio/source": ...} -> {"audio": {"source": ...}}."""
    result: dict[str, Any] = {}
    for name in arrays:
        group, separator, key = name.partition("/")
        if separator:
            result.setdefault(group, {})[key] = arrays[name]
        else:
            result[name] = arrays[name]
    return result


def frame_rate(value: ArrayLike) -> Fraction:
    """Frames a second from a number or "30000/1001"; 29.97 and its like are the NTSC rates that they stand for."""
    text = str(value)
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{text} is no frame rate") from error
    if rate <= 0:
        raise ValueError(f"{text} is no frame rate")
    return next((exact for exact in NTSC if abs(rate - exact) < Fraction(1, 1000)), rate)


def frame_number(path: Path) -> int:
    """The last number in a file's name."""
    if not (digits := re.findall(r"\d+", path.stem)):
        raise ValueError(f"{path.name} has no number: its place in the video is unknown")
    return int(digits[-1])


def picture_path(folder: Path, name: str) -> Path:
    """The picture of that name, which Blender writes without its suffix."""
    path = folder / name
    return path if path.suffix else path.with_suffix(".png")


def camera(entry: Mapping[str, Any], path: Path) -> Matrices:
    """[3, 3] intrinsics: those of the frame, or of all, or from Blender's camera_angle_x."""
    with Image.open(path) as picture:
        width, height = picture.size
    # Numbers may have been written for pictures of another size than those that lie there.
    across, down = width / entry.get("w", width), height / entry.get("h", height)
    focal = entry["fl_x"] * across if "fl_x" in entry else width / 2 / math.tan(entry["camera_angle_x"] / 2)
    focal_y = entry["fl_y"] * down if "fl_y" in entry else focal
    centre = entry.get("cx", width / across / 2) * across, entry.get("cy", height / down / 2) * down
    return np.array([[focal, 0, centre[0]], [0, focal_y, centre[1]], [0, 0, 1]])


def matrices(values: ArrayLike) -> Matrices:
    """Poses [N, 3, 4] or [N, 4, 4] as [N, 4, 4]."""
    poses = np.asarray(values, np.float64)
    if poses.ndim != 3 or poses.shape[1:] not in ((3, 4), (4, 4)):
        raise ValueError(f"cameras are 3 x 4 or 4 x 4 matrices, not {poses.shape}")
    whole = np.tile(np.eye(4), (len(poses), 1, 1))
    whole[:, : poses.shape[1]] = poses
    return whole


def only(folder: Path, pattern: str) -> Path:
    """The one file that matches."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder} has no {pattern}")
    if len(found) > 1:
        raise ValueError(f"{folder} has more than one {pattern}: {', '.join(path.name for path in found)}")
    return found[0]


def sounds(value: str | Sequence[str] | NDArray[Any], folder: Path, rate: int, sample_rate: int) -> Sound:
    """A path [C, n], several [N, C, n], or samples [..., n] as they are."""
    if isinstance(value, str):
        return read_sound(folder / value, sample_rate)
    if not isinstance(value, np.ndarray):
        heard = [read_sound(folder / name, sample_rate) for name in value]
        shortest = min(sound.shape[-1] for sound in heard)
        return np.stack([sound[:, :shortest] for sound in heard])
    return resampled(value.astype(np.float32), rate, sample_rate)


def read_sound(path: Path, sample_rate: int) -> Sound:
    """[C, n] in [-1, 1]."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return resampled(samples.T, rate, sample_rate)


def resampled(samples: Sound, rate: int, sample_rate: int) -> Sound:
    """[..., n] at another rate."""
    if rate == sample_rate:
        return np.ascontiguousarray(samples)
    flat = samples.reshape(-1, samples.shape[-1])
    result: Sound = soxr.resample(flat.T, rate, sample_rate).T
    return np.ascontiguousarray(result.reshape(*samples.shape[:-1], -1))


def known(values: ArrayLike | None) -> Sound:
    """[8], NaN if there are none."""
    return UNKNOWN.copy() if values is None else np.asarray(values, np.float32)
