"""Generated scenes that are made once and kept on disk: making one takes longer than a training step."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.vggt_audio import sound
from export.vggt_audio.scenes import Example, Generator, Scene

PARTICLES = 300  # a Monte Carlo of 4000 differs from it by a few per cent, and takes five times as long
HEARD = 3  # one room in so many is heard as well


@dataclass(frozen=True)
class Store:
    """Scenes of one split by number, each with as many pictures of one size.

    A file has images [S, H, W, 3] uint8, depth [S, H, W] float16 in metres, finish [S, H, W] uint8, pose_enc [S, 9], of
    each finish absorption [F, 8], scattering, impedance and material [F], and audio_features [S, 256] if it is heard.
    """

    generator: Generator
    folder: Path
    views: int
    height: int
    width: int

    def scene(self, number: int) -> Example:
        """Scene `number`, made now unless it is there."""
        path = self.folder / f"{self.generator.split}-{self.views}x{self.height}x{self.width}-{number}.npz"
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except FileNotFoundError:
            example = self._make(number)
        self.folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **example)  # type: ignore[arg-type]
        part.replace(path)
        return example

    def _make(self, number: int) -> Example:
        scene = self.generator.scene(number, self.views, self.height, self.width)
        materials = [finish.material for finish in scene.room.finishes]
        example: Example = {
            "images": np.stack([picture.image for picture in scene.pictures]),
            "depth": np.stack([picture.depth for picture in scene.pictures]).astype(np.float16),
            "finish": np.stack([picture.finish for picture in scene.pictures]).astype(np.uint8),
            "pose_enc": scene.poses(),
            "absorption": np.stack([material.absorption for material in materials]),
            "scattering": np.array([material.scattering for material in materials], np.float32),
            "impedance": np.array([material.impedance for material in materials], np.float32),
            "material": scene.looks(),
        }
        return example | (_heard(scene) if number % HEARD == 0 else {})


def _heard(scene: Scene) -> Example:
    rt60 = scene.rt60(PARTICLES)
    return {"audio_features": sound.features(sound.recording(scene, rt60, scene.chance).heard).astype(np.float32)}
