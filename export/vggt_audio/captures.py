"""Rooms that were really filmed: pictures with their cameras, what a source played, and what two ears heard there.

Training takes them in chunks of a few pictures. Sound belongs to a picture by its number in the video, counted in
integers from the first sample, so that the last picture of an hour is as well in time as the first.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from export.vggt_audio.poses import encode_poses

Sound = NDArray[np.float32]
Matrices = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Capture:
    """N pictures of one room and its sound. Camera axes are OpenCV's; lengths are metres if the capture's are."""

    images: Sequence[Path | NDArray[np.uint8]]
    numbers: tuple[int, ...]  # [N] of the pictures in the video; 0 is where the sound begins
    world_from_camera: Matrices  # [N, 4, 4]
    intrinsics: Matrices  # [N, 3, 3] in pixels, the corner of the picture at (0, 0)
    fps: Fraction
    sample_rate: int
    source: Sound  # [n] what was played
    binaural: Sound  # [2, n] what a moving head heard, or [N, 2, n] what each of several heads did; left ear first
    source_position: Matrices  # [3] in the world, NaN if unknown
    rt60: Sound  # [8] seconds, NaN if unknown
    absorption: Sound  # [8] mean of the room, NaN if unknown

    def __post_init__(self) -> None:
        count = len(self.images)
        shapes = {
            "numbers": ((len(self.numbers),), (count,)),
            "world_from_camera": (self.world_from_camera.shape, (count, 4, 4)),
            "intrinsics": (self.intrinsics.shape, (count, 3, 3)),
            "source": (self.source.shape, (self.source.size,)),
            "binaural": (self.binaural.shape[:-1], (count, 2) if self.binaural.ndim == 3 else (2,)),
            "source_position": (self.source_position.shape, (3,)),
            "rt60": (self.rt60.shape, (8,)),
            "absorption": (self.absorption.shape, (8,)),
        }
        wrong = [f"{name} is {found}, not {wanted}" for name, (found, wanted) in shapes.items() if found != wanted]
        if wrong or not count:
            raise ValueError(f"a capture of {count} pictures: {'; '.join(wrong) or 'it needs one at least'}")
        if min(self.numbers) < 0 or len(set(self.numbers)) < count:
            raise ValueError("pictures are numbered from 0 on, each differently")


def frame_sample(number: int, fps: Fraction, sample_rate: int) -> int:
    """The sample at the time of a frame: number * sample_rate / fps, rounded, in integers."""
    return (2 * number * sample_rate * fps.denominator + fps.numerator) // (2 * fps.numerator)


def cut(sound: Sound, start: int, stop: int) -> Sound:
    """[..., stop - start], with zeros where there is no sound."""
    size = sound.shape[-1]
    inside = sound[..., min(max(start, 0), size) : min(max(stop, 0), size)]
    result = np.zeros((*sound.shape[:-1], stop - start), np.float32)
    offset = max(0, -start)
    result[..., offset : offset + inside.shape[-1]] = inside
    return result


def fit(image: Image.Image, intrinsics: Matrices, height: int, width: int) -> tuple[NDArray[np.uint8], Matrices]:
    """A picture made to cover [height, width] without stretching, and the rest cut off around its principal point.

    Returns it as uint8 [height, width, 3] with its intrinsics [3, 3]. What is transparent becomes white.
    """
    scale = max(width / image.width, height / image.height)
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    steps = np.diag([size[0] / image.width, size[1] / image.height, 1.0])
    moved = steps @ intrinsics
    left, top = (
        min(max(round(moved[axis, 2] - wanted / 2), 0), size[axis] - wanted)
        for axis, wanted in enumerate((width, height))
    )
    moved[:2, 2] -= left, top
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    return np.asarray(whole.resize(size, Image.Resampling.BICUBIC).crop((left, top, left + width, top + height))), moved


class Captures(Dataset[dict[str, Tensor]]):
    """Chunks of up to `views` pictures that follow one another, of one capture each.

    The last chunk of a capture begins earlier, so that it is as long as the others; a capture of fewer pictures is one
    shorter chunk. An item holds

        images [S, H, W, 3] uint8, pose_enc [S, 9], intrinsics [S, 3, 3] in pixels,
        binaural [S, 2, n] around the time of each picture, and source [S, lead + n] that sounded then and before,
        audio_valid [S] bool: whether any of that was recorded,
        source_position [3], rt60 [8] in seconds, room_absorption [8]: NaN where unknown.

    The world is the first camera's frame of the chunk. Lens distortion is not undone.
    """

    def __init__(
        self,
        captures: Sequence[Capture],
        views: int,
        height: int,
        width: int,
        audio_s: float = 1.0,
        lead_s: float = 0.0,
    ) -> None:
        """`audio_s`: of sound around each picture; `lead_s`: of the source before that, which a room still rings with.

        Raises ValueError if a chunk would hold no picture.
        """
        if views < 1:
            raise ValueError("a chunk has at least one picture")
        self.captures, self.views, self.height, self.width = list(captures), views, height, width
        self.audio_s, self.lead_s = audio_s, lead_s
        self.ends = list(accumulate(-(-len(capture.images) // views) for capture in captures))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        owner = bisect_right(self.ends, index)
        capture = self.captures[owner]
        chunk = index - (self.ends[owner - 1] if owner else 0)
        start = max(0, min(chunk * self.views, len(capture.images) - self.views))
        order = sorted(range(len(capture.images)), key=capture.numbers.__getitem__)
        chosen = order[start : start + self.views]
        return self._views(capture, chosen) | self._sound(capture, chosen)

    def _views(self, capture: Capture, chosen: list[int]) -> dict[str, Tensor]:
        fitted = [fit(opened(capture.images[i]), capture.intrinsics[i], self.height, self.width) for i in chosen]
        intrinsics = torch.from_numpy(np.stack([matrix for _, matrix in fitted]))
        first_from_world = np.linalg.inv(capture.world_from_camera[chosen[0]])
        camera_from_first = np.linalg.inv(first_from_world @ capture.world_from_camera[chosen])
        poses = encode_poses(torch.from_numpy(camera_from_first[:, :3]), intrinsics, (self.height, self.width))
        position = first_from_world[:3, :3] @ capture.source_position + first_from_world[:3, 3]
        return {
            "images": torch.from_numpy(np.stack([picture for picture, _ in fitted])),
            "pose_enc": poses.float(),
            "intrinsics": intrinsics.float(),
            "source_position": torch.from_numpy(position).float(),
            "rt60": torch.from_numpy(capture.rt60),
            "room_absorption": torch.from_numpy(capture.absorption),
        }

    def _sound(self, capture: Capture, chosen: list[int]) -> dict[str, Tensor]:
        rate, separate = capture.sample_rate, capture.binaural.ndim == 3
        length, lead = round(self.audio_s * rate), round(self.lead_s * rate)
        size = capture.binaural.shape[-1]
        # Heads that stood still each heard the whole: the middle of it is as good a time as any.
        centres = [size // 2 if separate else frame_sample(capture.numbers[i], capture.fps, rate) for i in chosen]
        starts = [centre - length // 2 for centre in centres]
        heard = [
            cut(capture.binaural[i] if separate else capture.binaural, start, start + length)
            for i, start in zip(chosen, starts, strict=True)
        ]
        return {
            "binaural": torch.from_numpy(np.stack(heard)),
            "source": torch.from_numpy(np.stack([cut(capture.source, s - lead, s + length) for s in starts])),
            "audio_valid": torch.tensor([start < size and start + length > 0 for start in starts]),
        }


def opened(image: Path | NDArray[np.uint8]) -> Image.Image:
    """A picture of a file or of an array [H, W, 3]."""
    return Image.open(image) if isinstance(image, Path) else Image.fromarray(image)
