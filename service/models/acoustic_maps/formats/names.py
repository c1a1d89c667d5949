"""Names of materials that every file format, shader and file system accepts."""

import re

from service.acoustics.scene import AcousticScene


def material_names(scene: AcousticScene) -> list[str]:
    """One each, told apart by its index: none is a part of another, which some engines would take for a match."""
    return [f"m{index:03d}_{_plain(item.label)}" for index, item in enumerate(scene.materials)]


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")[:40] or "material"
