"""A CLAP checkpoint from a folder or from the Hugging Face hub, and what its preprocessing is."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from export.errors import ExportError
from export.vatt.space import digest_of, space_id
from export.vatt.tokenizer import digest

# What an extractor's `truncation` says of its filters, see ClapFeatureExtractor: mel_scale and mel_norm.
FILTERS = {"rand_trunc": ("slaney", "slaney"), "fusion": ("htk", "none")}


@dataclass(frozen=True)
class Checkpoint:
    """`model` is a ClapModel, `extractor` a ClapFeatureExtractor, `vocabulary` a file of the tokenizers library."""

    model: nn.Module
    extractor: Any
    vocabulary: str
    pad_id: int

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def dims(self) -> int:
        return int(self.config.projection_dim)

    @property
    def n_mels(self) -> int:
        return int(self.extractor.feature_size)

    @property
    def frames(self) -> int:
        return int(self.extractor.nb_max_samples // self.extractor.hop_length + 1)

    @property
    def max_tokens(self) -> int:
        """RoBERTa's positions begin behind the number of its padding."""
        text = self.config.text_config
        return min(512, int(text.max_position_embeddings - text.pad_token_id - 1))

    @property
    def audio_parameters(self) -> dict[str, str]:
        """What the gateway computes, under the names that it reads."""
        extractor = self.extractor
        mel_scale, mel_norm = FILTERS[extractor.truncation]
        return {
            "frontend": "mel",
            "sample_rate": str(extractor.sampling_rate),
            "window_samples": str(extractor.nb_max_samples),
            "hop_samples": str(extractor.nb_max_samples // 2),
            "n_fft": str(extractor.fft_window_size),
            "hop_length": str(extractor.hop_length),
            "n_mels": str(self.n_mels),
            "f_min": str(extractor.frequency_min),
            "f_max": str(extractor.frequency_max),
            "mel_scale": mel_scale,
            "mel_norm": mel_norm,
            "padding": str(extractor.padding),
        }

    @property
    def text_parameters(self) -> dict[str, str]:
        return {
            "tokenizer_sha256": digest(self.vocabulary),
            "pad_id": str(self.pad_id),
            "max_tokens": str(self.max_tokens),
            "stride_tokens": str(self.max_tokens - self.max_tokens // 8),
            "token_buckets": " ".join(str(size) for size in buckets(self.max_tokens)),
        }

    @cached_property
    def weights_digest(self) -> str:
        return digest_of(self.model, "")

    @cached_property
    def space_id(self) -> str:
        about = self.audio_parameters | self.text_parameters
        return space_id(self.model, json.dumps(about, sort_keys=True))


def buckets(longest: int) -> list[int]:
    """Powers of two from 16 below the longest, and the longest."""
    return [size for size in (16, 32, 64, 128, 256) if size < longest] + [longest]


def load_checkpoint(source: str) -> Checkpoint:
    """`source`: a folder that transformers saved, or a hub id (owner/name).

    Raises ExportError when transformers is not installed, when there is no such checkpoint, or when it is not one of a
    single window: a "fused" one looks at random parts of a long recording, and would not answer the same twice.
    """
    try:
        from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel
        from transformers.utils import logging
    except ImportError as error:
        raise ExportError("CLAP checkpoints need transformers: pip install 'auricle[clap]'") from error
    logging.disable_progress_bar()
    # whoever exports says which checkpoint, and may name a folder of a revision that they know
    try:
        model = ClapModel.from_pretrained(source, attn_implementation="eager").float().eval()  # nosec B615
        extractor = ClapFeatureExtractor.from_pretrained(source)  # nosec B615
        tokenizer = AutoTokenizer.from_pretrained(source).backend_tokenizer  # nosec B615
    except (OSError, ValueError, AttributeError) as error:
        raise ExportError(f"cannot load a CLAP checkpoint from {source}: {error}") from error
    if model.config.audio_config.enable_fusion:
        raise ExportError(f"{source} fuses random parts of long audio: take a checkpoint without fusion")
    if extractor.truncation not in FILTERS:
        raise ExportError(f"{source} truncates by {extractor.truncation}; there is {', '.join(FILTERS)}")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Checkpoint(model, extractor, tokenizer.to_str(), int(model.config.text_config.pad_token_id))
