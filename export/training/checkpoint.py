"""Training checkpoints: written by rename, so a kill never leaves half a file; read without unpickling code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """What a training loop must remember: a model, an optimizer, an average."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def save(path: Path, parts: Mapping[str, Stateful], step: int) -> None:
    """Everything that training needs to go on from `step`, under the parts' names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, partial)
    partial.replace(path)


def resume(path: Path, parts: Mapping[str, Stateful]) -> int:
    """Restores `parts` from the checkpoint at `path` and returns its step; 0 if there is none."""
    if not path.exists():
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    step: int = saved["step"]
    return step
