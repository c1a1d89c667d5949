"""Pictures of real materials that rendered rooms are papered with: a folder of JPEGs and its manifest."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Split = Literal["train", "test"]
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True, eq=False)
class Texture:
    """One picture of a material. ``image`` is uint8 RGB [h, w, 3]; ``size_m`` is its width and height in the world."""

    id: str
    material: str
    image: NDArray[np.uint8]
    size_m: tuple[float, float] | None


def load_textures(folder: Path, split: Split) -> list[Texture]:
    """The decoded pictures of one split, in the order of ``folder/manifest.jsonl`` (train takes about 0.4 GB).

    Raises:
        FileNotFoundError: the folder has no manifest, or lacks a picture that the manifest lists.
    """
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [load_texture(folder, entry) for line in lines if (entry := json.loads(line))["split"] == split]


def load_texture(folder: Path, entry: dict[str, str | float]) -> Texture:
    """Decode one line of the manifest: path, material and, where the size is known, width_cm and height_cm."""
    path = folder / str(entry["path"])
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB"))
    size = (float(entry["width_cm"]) / 100, float(entry["height_cm"]) / 100) if "width_cm" in entry else None
    return Texture(path.stem, str(entry["material"]), image, size)
