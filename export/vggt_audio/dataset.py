"""Batches for training: generated scenes, made while training asks for them, and rooms that were filmed."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from export.vggt_audio import sound
from export.vggt_audio.captures import Captures
from export.vggt_audio.scenes import Example, Generator, Scene
from export.vggt_audio.store import PARTICLES

STILL_S = 0.25
"""Of a filmed room's sound that is compared: a head that moves is where the picture was for about that long."""


@dataclass(frozen=True)
class Shape:
    """Of a batch: how many scenes, pictures of each, and their size."""

    scenes: int
    views: int
    height: int
    width: int


class Batches(IterableDataset[Example], ABC):
    """Endless batches, each of which follows from its number alone. Workers take turns."""

    start = 0  # batches that an earlier run has seen

    @abstractmethod
    def batch(self, number: int) -> Example:
        """Batch `number`, always the same; arrays have the scenes along their first axis."""

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        if worker:
            torch.set_num_threads(1)  # beside the process that trains
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in count(self.start + first, step):
            yield self.batch(number)


class GeneratedScenes(Batches):
    """Scenes for training, no scene twice.

    What `Scene.example` gives, and in a share of the batches what is heard in the scenes:

        audio_features [B, S, 256]
        binaural [B, S, 2, n] at the cameras, and source [B, 1, lead + n] that sounded then and before
        dims [B, 3], source_position [B, 3] and world_from_camera [B, S, 4, 4] in the room's frame; see `renderer`
        rt60 [B, 8] in seconds, NaN where there is none; volume [B] in m3 of air, and area [B] in m2 around it
    """

    def __init__(self, generator: Generator, seed: int, start: int, shapes: Sequence[Shape], heard: float) -> None:
        """`shapes` take turns; `start`: batches that an earlier run has seen; `heard`: the share with sound."""
        self.generator, self.start, self.shapes, self.heard = generator, start, shapes, heard
        self.most = max(shape.scenes for shape in shapes)
        self.offset = zlib.crc32(str(seed).encode()) << 32 if seed else 0

    def batch(self, number: int) -> Example:
        shape = self.shapes[number % len(self.shapes)]
        with_sound = np.random.default_rng([self.offset, number]).random() < self.heard
        scenes = (
            self.generator.scene(self.offset + number * self.most + i, shape.views, shape.height, shape.width)
            for i in range(shape.scenes)
        )
        examples = [scene.example() | (_heard(scene) if with_sound else {}) for scene in scenes]
        return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


class FilmedRooms(Batches):
    """Chunks of captures at random, one a batch: what `Captures` gives, with STILL_S of sound, and in a share of the
    batches audio_features [1, S, 256]."""

    def __init__(self, captures: Captures, seed: int, start: int, heard: float) -> None:
        self.captures, self.seed, self.start, self.heard = captures, seed, start, heard

    def batch(self, number: int) -> Example:
        chance = np.random.default_rng([zlib.crc32(b"filmed"), self.seed, number])
        item = self.captures[int(chance.integers(len(self.captures)))]
        example: Example = {name: value.numpy() for name, value in item.items()}
        if chance.random() < self.heard:
            example["audio_features"] = sound.features(item["binaural"].numpy())
        whole, kept = item["binaural"].shape[-1], round(STILL_S * sound.SAMPLE_RATE)
        start = (whole - kept) // 2
        lead = item["source"].shape[-1] - whole
        example["binaural"] = example["binaural"][..., start : start + kept]
        example["source"] = example["source"][..., start : start + lead + kept]
        return {name: value[None] for name, value in example.items()}


class Mixture(Batches):
    """Filmed rooms in a share of the batches, generated scenes in the others."""

    def __init__(self, generated: Batches, filmed: FilmedRooms, share: float) -> None:
        self.generated, self.filmed, self.share, self.start = generated, filmed, share, generated.start

    def batch(self, number: int) -> Example:
        chance = np.random.default_rng([zlib.crc32(b"mixture"), self.filmed.seed, number])
        return (self.filmed if chance.random() < self.share else self.generated).batch(number)


def _heard(scene: Scene) -> Example:
    geometry, rt60 = scene.room.geometry, scene.rt60(PARTICLES)
    recording = sound.recording(scene, rt60, scene.chance)
    return {
        "audio_features": sound.features(recording.heard),
        "binaural": recording.heard,
        "source": recording.source[None],
        "source_position": recording.position,
        "dims": np.array(geometry.dims, np.float32),
        "world_from_camera": np.stack([view.world_from_camera for view in scene.views]).astype(np.float32),
        "rt60": rt60.astype(np.float32),
        "volume": np.array(geometry.volume, np.float32),
        "area": geometry.areas(len(scene.room.finishes)).sum(dtype=np.float32),
    }
