"""A small filmed room on disk: three pictures of a video, and a click for each at its time."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from export.vggt_audio.captures import frame_sample

RATE = 48_000
WIDTH, HEIGHT = 64, 48
NUMBERS, FPS = (30, 12, 90), Fraction(30_000, 1001)


def pose(position: tuple[float, float, float]) -> np.ndarray:
    """OpenGL camera to world: level in a world whose z is up, looking along +y."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # right +x, up +z, back -y
    matrix[:3, 3] = position
    return matrix


def click_track(numbers: Sequence[int], fps: Fraction, seconds: float) -> np.ndarray:
    """[2, n]: a click at the time of each frame, as high as the frame's number."""
    samples = np.zeros((2, round(seconds * RATE)), np.float32)
    for number in numbers:
        samples[:, frame_sample(number, fps, RATE)] = number / 1000
    return samples


def write_folder(folder: Path) -> Path:
    """NeRF-style, as read_folder reads it; its intrinsics were written for pictures of twice the size."""
    (folder / "frames").mkdir()
    frames = []
    for number in NUMBERS:
        name = f"frames/{number:05d}.png"
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(folder / name)
        frames.append({"file_path": name, "transform_matrix": pose((number / 10, 2.0, 1.5)).tolist()})
    scene = {
        "fl_x": 100.0,
        "fl_y": 110.0,
        "cx": 64.0,
        "cy": 48.0,
        "w": 2 * WIDTH,
        "h": 2 * HEIGHT,
        "fps": 29.97,
        "source_position": [1.2, 4.0, 1.5],
        "frames": frames,
    }
    (folder / "transforms_train.json").write_text(json.dumps(scene))
    heard = click_track(NUMBERS, FPS, 4)
    soundfile.write(folder / "binaural_syn_re.wav", heard.T, RATE, "FLOAT")
    soundfile.write(folder / "source_syn_re.wav", heard[0], RATE, "FLOAT")
    return folder
