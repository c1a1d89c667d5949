"""A small filmed room on disk: three pictures of a video, and a click for each at its time; and a generated room as if
it had been filmed."""

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from export.vggt_audio import sound
from export.vggt_audio.captures import Capture, frame_sample
from export.vggt_audio.scenes import Scene

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


def filmed_scene(scene: Scene) -> Capture:
    """Heads that stood where the pictures were taken heard the same source at the same time."""
    recording = sound.recording(scene, np.full(8, 0.5), np.random.default_rng(2))
    view = scene.views[0]
    count = len(scene.views)
    matrix = np.array([[view.focal, 0, view.width / 2], [0, view.focal, view.height / 2], [0, 0, 1]])
    return Capture(
        images=[picture.image for picture in scene.pictures],
        numbers=tuple(range(count)),
        world_from_camera=np.stack([view.world_from_camera for view in scene.views]).astype(np.float64),
        intrinsics=np.tile(matrix, (count, 1, 1)),
        fps=Fraction(1),
        sample_rate=RATE,
        source=recording.source[round(sound.LEAD_S * RATE) :],
        binaural=recording.heard,
        source_position=recording.position.astype(np.float64),
        rt60=np.full(8, 0.5, np.float32),
        absorption=np.full(8, 0.2, np.float32),
    )


def write_capture(path: Path, capture: Capture) -> Path:
    """As npz."""
    np.savez(
        path,
        **{
            "images": np.stack([np.asarray(image) for image in capture.images]),
            "audio/source": capture.source,
            "audio/binaural": capture.binaural,
            "audio/sample_rate": RATE,
            "audio/source_position": capture.source_position,
            "camera_params/extrinsics": np.linalg.inv(capture.world_from_camera),
            "camera_params/intrinsics": capture.intrinsics,
            "acoustic_gt/rt60": capture.rt60,
            "acoustic_gt/absorption": capture.absorption,
            "fps": str(capture.fps),
        },
    )
    return path
