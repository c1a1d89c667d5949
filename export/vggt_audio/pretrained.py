"""Published VGGT weights into a model: from a file, a folder, or the Hugging Face hub."""

import pickle  # nosec B403
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from export.errors import ExportError

FILENAMES = ("model.safetensors", "model.pt")  # in this order
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HEADS = ("camera_head.", "depth_head.", "point_head.", "track_head.")
# What VGGT does not have.
NEW = ("aggregator.audio_token", "aggregator.audio_proj.", "acoustic_head.", "match_head.")


@dataclass(frozen=True)
class LoadReport:
    """Parameter names, each once."""

    matched: tuple[str, ...]  # loaded
    missing: tuple[str, ...]  # VGGT's, not in the file: as they were initialised
    new: tuple[str, ...]  # not VGGT's and not in the file: as they were initialised
    unused: tuple[str, ...]  # in the file, of a head that the model has switched off
    unexpected: tuple[str, ...]  # in the file, of nothing that VGGT has

    def __str__(self) -> str:
        counts = {name: len(names) for name, names in vars(self).items()}
        return ", ".join(f"{count} {name}" for name, count in counts.items())


def load_vggt(
    model: nn.Module,
    source: str | Path,
    revision: str | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool = False,
) -> LoadReport:
    """Copy what `source` has into `model`, whatever its precision; the last three arguments are the hub's.

    `source`: a .safetensors or .pt file, a folder with model.safetensors or model.pt, or a hub id (owner/name). A .pt
    file is read as tensors only, it cannot run code. Raises ExportError when there is nothing to read, when it is not
    weights of VGGT, or when shapes differ: then nothing was copied.
    """
    path = _locate(str(source), revision, cache_dir, local_files_only)
    state = _read(path)
    own = model.state_dict()
    matched = state.keys() & own.keys()
    misfits = [
        f"{name} is {[*state[name].shape]}, the model has {[*own[name].shape]}"
        for name in sorted(matched)
        if state[name].shape != own[name].shape
    ]
    if misfits:
        raise ExportError(f"{path} does not fit: {'; '.join(misfits)}")
    if not matched:
        raise ExportError(f"{path} holds no parameter of VGGT")
    model.load_state_dict({name: state[name] for name in matched}, strict=False)
    absent, extra = own.keys() - matched, state.keys() - matched
    off = tuple(head for head in HEADS if not any(name.startswith(head) for name in own))

    def sort(names: set[str], prefixes: tuple[str, ...], inside: bool) -> tuple[str, ...]:
        return tuple(sorted(name for name in names if name.startswith(prefixes) is inside))

    return LoadReport(
        matched=tuple(sorted(matched)),
        missing=sort(absent, NEW, inside=False),
        new=sort(absent, NEW, inside=True),
        unused=sort(extra, off, inside=True),
        unexpected=sort(extra, off, inside=False),
    )


def freeze_vggt(model: nn.Module) -> None:
    """Leave only what VGGT does not have to training: audio tokens and projection, and the acoustic head."""
    for name, parameter in model.named_parameters():
        if not name.startswith(NEW):
            parameter.requires_grad_(False)


def _locate(source: str, revision: str | None, cache_dir: Path | None, local_files_only: bool) -> Path:
    path = Path(source)
    if path.is_file():
        return path
    if path.is_dir():
        found = next((path / name for name in FILENAMES if (path / name).is_file()), None)
        if found is None:
            raise ExportError(f"{path} holds neither {' nor '.join(FILENAMES)}")
        return found
    if not HUB_ID.fullmatch(source):
        raise ExportError(f"{source} is neither a file, nor a folder, nor an id of the Hugging Face hub")
    for name in FILENAMES:
        try:
            return Path(
                hf_hub_download(source, name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
            )
        except EntryNotFoundError:
            continue
        except (HfHubHTTPError, OSError) as error:
            raise ExportError(f"cannot get {source} from the Hugging Face hub: {error}") from error
    raise ExportError(f"{source} has neither {' nor '.join(FILENAMES)}, on the hub or, without network, in its cache")


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError) as error:
        raise ExportError(f"{path} holds no weights that can be read: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ExportError(f"{path} is not a dictionary of tensors")
    return state
