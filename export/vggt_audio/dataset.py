"""Batches of generated scenes, made while training asks for them."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from export.vggt_audio import sound
from export.vggt_audio.scenes import Example, Generator, Scene

PARTICLES = 300  # a Monte Carlo of 4000 differs from it by a few per cent, and takes five times as long


@dataclass(frozen=True)
class Shape:
    """Of a batch: how many scenes, pictures of each, and their size."""

    scenes: int
    views: int
    height: int
    width: int


class GeneratedScenes(IterableDataset[Example]):
    """Endless batches for training, stacked along a new first axis; no scene comes twice.

    What `Scene.example` gives, and in a share of the batches audio_features [B, S, 256].
    """

    def __init__(self, generator: Generator, seed: int, start: int, shapes: Sequence[Shape], heard: float) -> None:
        """`shapes` take turns; `start`: batches that an earlier run has seen; `heard`: the share with sound."""
        self.generator, self.start, self.shapes, self.heard = generator, start, shapes, heard
        self.most = max(shape.scenes for shape in shapes)
        self.offset = zlib.crc32(str(seed).encode()) << 32 if seed else 0

    def __iter__(self) -> Iterator[Example]:
        torch.set_num_threads(1)  # a worker beside the one that trains
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in count(self.start + first, step):
            yield self.batch(number)

    def batch(self, number: int) -> Example:
        """Batch `number`, always the same."""
        shape = self.shapes[number % len(self.shapes)]
        with_sound = np.random.default_rng([self.offset, number]).random() < self.heard
        scenes = (
            self.generator.scene(self.offset + number * self.most + i, shape.views, shape.height, shape.width)
            for i in range(shape.scenes)
        )
        examples = [scene.example() | (_heard(scene) if with_sound else {}) for scene in scenes]
        return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _heard(scene: Scene) -> Example:
    rt60 = scene.rt60(PARTICLES)
    return {"audio_features": sound.features(sound.recording(scene, rt60, scene.chance))}
