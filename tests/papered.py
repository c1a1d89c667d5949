"""Pictures to paper generated rooms with: noise, two of each material, told apart by their brightness."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from export.vggt_audio.materials import CLASSES
from export.vggt_audio.textures import MANIFEST, Texture


def papers() -> list[Texture]:
    chance = np.random.default_rng(5)
    return [
        Texture(f"{look}-{i}", look, chance.integers(20 * i, 20 * i + 90, (32, 48, 3), dtype=np.uint8), None)
        for look in CLASSES
        for i in range(2)
    ]


def write_papers(folder: Path) -> Path:
    """As `load_textures` reads them."""
    lines = []
    for texture in papers():
        path = f"{texture.id}.png"
        Image.fromarray(texture.image).save(folder / path)
        lines.append(json.dumps({"path": path, "material": texture.material, "split": "train"}))
    (folder / MANIFEST).write_text("\n".join(lines))
    return folder
