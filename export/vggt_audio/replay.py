"""Batches of stored rooms, each time shown otherwise: other pictures of it, mirrored, smaller, in other light."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from export.vggt_audio.dataset import Batches, Shape
from export.vggt_audio.poses import decode_poses, encode_poses, unproject
from export.vggt_audio.scenes import Example
from export.vggt_audio.store import Store

Array = NDArray[np.float32]

SHOWN = 4  # times that a room has been shown, on average, when the next ones join
FIRST_ROOMS = 256
SHUFFLED = 0.3  # of the scenes: pictures in any order; the others one after the other, as somebody takes them


class StoredScenes(Batches):
    """What `GeneratedScenes` gives, without what is heard but for audio_features.

    Rooms join as training goes on, so that the first batches need not wait for all of them.
    """

    def __init__(self, store: Store, rooms: int, seed: int, start: int, shapes: Sequence[Shape], heard: float) -> None:
        """`rooms`: how many at most; pictures of `shapes` are no larger than those of the store."""
        self.store, self.rooms, self.seed, self.start = store, rooms, seed, start
        self.shapes, self.heard = shapes, heard

    def batch(self, number: int) -> Example:
        chance = np.random.default_rng([zlib.crc32(b"stored"), self.seed, number])
        shape = self.shapes[number % len(self.shapes)]
        there = min(self.rooms, FIRST_ROOMS + number * shape.scenes // SHOWN)
        with_sound = chance.random() < self.heard
        numbers = chance.integers(there, size=shape.scenes)
        examples = [show(self.store.scene(int(number)), shape, chance) for number in numbers]
        features = [example.pop("audio_features", None) for example in examples]
        batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
        return batch | (_sound(features, shape.views) if with_sound else {})


def show(scene: Example, shape: Shape, chance: np.random.Generator) -> Example:
    """The middle of some pictures of a stored scene, and what is true of them; the first is the world."""
    order = _order(len(scene["images"]), shape.views, chance)
    stored, size = scene["images"].shape[1:3], (shape.height, shape.width)
    factor = max(1, stored[0] // shape.height)
    high, wide = factor * shape.height, factor * shape.width
    top, left = (stored[0] - high) // 2, (stored[1] - wide) // 2
    part = np.s_[order, top : top + high, left : left + wide]
    images = _shrunk(scene["images"][part], factor)
    depth, finish = (scene[name][part][:, ::factor, ::factor] for name in ("depth", "finish"))
    depth = depth[..., None].astype(np.float32)
    extrinsics, intrinsics = decode_poses(torch.from_numpy(scene["pose_enc"])[order], stored)
    intrinsics = intrinsics / factor
    intrinsics[:, :2, 2], intrinsics[:, 2, 2] = torch.tensor([shape.width / 2, shape.height / 2]), 1
    if chance.random() < 0.5:
        images, depth, finish = mirrored(images), mirrored(depth), mirrored(finish)
        flip = torch.tensor([-1.0, 1, 1])
        extrinsics = flip[:, None] * extrinsics * torch.tensor([-1.0, 1, 1, 1])
    extrinsics = _from_first(extrinsics)
    points = unproject(torch.from_numpy(depth), extrinsics, intrinsics)
    example: Example = {
        "images": developed(images, chance),
        "depth": depth,
        "world_points": points.numpy(),
        "pose_enc": encode_poses(extrinsics, intrinsics, size).numpy(),
        "absorption": scene["absorption"][finish],
        "scattering": scene["scattering"][finish][..., None],
        "impedance": scene["impedance"][finish][..., None],
        "material": scene["material"][finish],
    }
    if "audio_features" in scene:
        example["audio_features"] = scene["audio_features"][order]
    return example


def mirrored(maps: NDArray[Any]) -> NDArray[Any]:
    """Maps [S, H, W, ...] with left and right exchanged about the optical axis, which column W / 2 lies on: column 0
    has no counterpart and stays."""
    return np.concatenate([maps[:, :, :1], maps[:, :, :0:-1]], axis=2)


def developed(images: Array, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Pictures [S, H, W, 3] in [0, 1] as another camera would give them: exposure, balance, saturation, noise."""
    gamma, gain = np.exp(chance.normal(0, 0.2)), np.exp(chance.normal(0, 0.15))
    balance = np.exp(chance.normal(0, 0.08, 3)).astype(np.float32)
    images = np.clip(images, 0, 1) ** np.float32(gamma) * (np.float32(gain) * balance)
    grey = images.mean(axis=-1, keepdims=True)
    images = grey + np.float32(chance.uniform(0.4, 1.4)) * (images - grey)
    images += chance.standard_normal(images.shape, np.float32) * np.float32(chance.uniform(0, 0.02))
    return (np.clip(images, 0, 1) * 255 + 0.5).astype(np.uint8)


def _order(there: int, wanted: int, chance: np.random.Generator) -> NDArray[np.intp]:
    """The numbers of the pictures to show."""
    if chance.random() < SHUFFLED:
        return chance.permutation(there)[:wanted]
    first = int(chance.integers(there - wanted + 1))
    order = np.arange(first, first + wanted)
    return order if chance.random() < 0.5 else order[::-1].copy()


def _shrunk(images: NDArray[np.generic], factor: int) -> Array:
    """uint8 [S, H, W, 3] -> [S, H / factor, W / factor, 3] in [0, 1], the mean of each square."""
    count, height, width, _ = images.shape
    squares = images.reshape(count, height // factor, factor, width // factor, factor, 3)
    return squares.mean(axis=(2, 4), dtype=np.float32) / np.float32(255)


def _from_first(extrinsics: torch.Tensor) -> torch.Tensor:
    """Cameras [S, 3, 4] of any world -> of the first camera's."""
    rotation, shift = extrinsics[:, :, :3], extrinsics[:, :, 3:]
    turned = rotation @ rotation[0].T
    return torch.cat([turned, shift - turned @ shift[0]], dim=-1)


def _sound(features: Sequence[NDArray[np.generic] | None], views: int) -> Example:
    """Of the scenes that are heard."""
    heard = [feature is not None for feature in features]
    if not any(heard):
        return {}
    width = next(feature.shape[-1] for feature in features if feature is not None)
    none = np.zeros((views, width), np.float32)
    return {
        "audio_features": np.stack([none if feature is None else feature for feature in features]),
        "audio_valid": np.repeat(np.array(heard)[:, None], views, axis=1),
    }
