"""Recordings and texts to vectors with PyTorch, as the gateway makes them of windows."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn import functional as F

from export.errors import ExportError
from export.vatt.dataset import stack
from export.vatt.model import Vatt, VattConfig
from export.vatt.tokenizer import pad, tokenize
from export.weights import load_weights, restore_config

BATCH = 16

Array = NDArray[np.float32]


class Vectors(NamedTuple):
    """Of recordings, in both spaces: [N, fine_dims] and [N, dims]."""

    fine: Array
    coarse: Array


def load_model(path: Path) -> Vatt:
    """Raises ExportError."""
    weights = load_weights(path)
    if weights.kind != VattConfig.__name__:
        raise ExportError(f"{path} holds weights of a {weights.kind}, not of a {VattConfig.__name__}")
    model = Vatt(restore_config(VattConfig, weights.config))
    try:
        model.load_state_dict(weights.state)
    except RuntimeError as error:
        raise ExportError(f"{path} does not fit its own configuration: {error}") from error
    return model.eval()


def window_starts(samples: int, window: int) -> list[int]:
    """Every half window, the last one at the end; a recording shorter than a window has one."""
    if samples <= window:
        return [0]
    hop = window // 2
    return [*range(0, samples - window, hop), samples - window]


@torch.inference_mode()
def embed_recordings(model: Vatt, paths: Sequence[Path]) -> Vectors:
    """The mean of each recording's windows, of length 1 again."""
    audio = model.config.audio
    rows = []
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = soxr.resample(samples.mean(axis=1), rate, audio.sample_rate)
        starts = window_starts(len(waveform), audio.window_samples)
        windows = [waveform[start : start + audio.window_samples] for start in starts]
        parts = [
            model.encode_audio(*stack(windows[at : at + BATCH], audio.step_samples))[:2]
            for at in range(0, len(windows), BATCH)
        ]
        rows.append([torch.cat(space).mean(0) for space in zip(*parts, strict=True)])
    return Vectors(*(F.normalize(torch.stack(space), dim=-1).numpy() for space in zip(*rows, strict=True)))


@torch.inference_mode()
def embed_texts(model: Vatt, tokenizer: Tokenizer, texts: Sequence[str]) -> Array:
    """[N, dims]"""
    rows = tokenize(tokenizer, texts, model.config.text.max_tokens)
    vectors = [model.encode_text(*pad(rows[at : at + BATCH])) for at in range(0, len(rows), BATCH)]
    return torch.cat(vectors).numpy()
