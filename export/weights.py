"""Weights on disk: safetensors with the model's configuration beside the tensors; never a pickle.

The digest of the file is the model's version: tokens are only decoded by the weights that made them.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from export.errors import ExportError

T = TypeVar("T")

SHIPPED = Path(__file__).parent / "weights"
# One metadata key: safetensors writes several in no fixed order, and the same weights must have the same digest.
METADATA_KEY = "auricle"


@dataclass(frozen=True)
class Weights:
    """The tensors of one model and the configuration to rebuild it."""

    kind: str  # the name of the configuration's class: whose weights these are
    config: dict[str, Any]  # its fields
    state: dict[str, Tensor]
    digest: str  # sha256 of the safetensors file, hex


def pack_weights(state: Mapping[str, Tensor], config: object, **about: int | float | str) -> bytes:
    """The content of a safetensors file; `config` is a dataclass, `about` is told in the metadata and has no effect."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"a configuration is a dataclass, not {config!r}")
    metadata = {"kind": type(config).__name__, "config": dataclasses.asdict(config), "about": about}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    return safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def unpack_weights(content: bytes) -> Weights:
    """Raises ExportError unless `content` is a file of `pack_weights`."""
    try:
        state = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads(header["__metadata__"][METADATA_KEY])
        return Weights(metadata["kind"], metadata["config"], state, hashlib.sha256(content).hexdigest())
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ExportError(f"not the weights of a model: {error}") from error


def save_weights(path: Path, state: Mapping[str, Tensor], config: object, **about: int | float | str) -> None:
    """Write the file by rename, so that a kill never leaves half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(pack_weights(state, config, **about))
    partial.replace(path)


def load_weights(path: Path) -> Weights:
    """Raises ExportError when the file is missing or holds anything else."""
    try:
        return unpack_weights(path.read_bytes())
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error


def restore_config(kind: type[T], values: Mapping[str, Any]) -> T:
    """A (nested) configuration dataclass from its fields. Raises ExportError on fields that it does not have."""
    types = get_type_hints(kind)
    unknown = values.keys() - types.keys()
    if unknown:
        raise ExportError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    nested = {
        name: restore_config(types[name], value) if dataclasses.is_dataclass(types[name]) else value
        for name, value in values.items()
    }
    # JSON knows no tuples, and a frozen configuration has no lists.
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in nested.items()})
