"""What is served of CLAP: mel spectrogram of a window -> embedding, and word pieces -> embedding."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from google.protobuf import text_format
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional as F
from tritonclient.grpc import model_config_pb2

from export.contract import parameters, parse_config
from export.entries import BATCH, Case, Entry, Measure, Named, Precision, ServedGraph
from export.publish import reviewed_texts
from export.vatt import tokenizer
from export.vatt.clap.checkpoint import Checkpoint, load_checkpoint
from export.vatt.measure import measure
from export.weights import Weights

Inputs = dict[str, tuple[int, tuple[int, ...]]]
"""Name -> data type and dims."""

QUIET_DB = -100.0  # power of 1e-10, the least that the extractor tells apart


class ClapGraph(ServedGraph):
    """embedding [B, D] FP32 of length 1."""

    outputs = ("embedding",)
    model: Any

    def __init__(self, checkpoint: Checkpoint, model: nn.Module) -> None:
        super().__init__(model)
        self.checkpoint = checkpoint

    @property
    def constants(self) -> dict[str, str]:
        return {"space_id": self.checkpoint.space_id, "dims": str(self.checkpoint.dims)}

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        return measure(self, cases, precision)


class ClapAudioGraph(ClapGraph):
    """input_features [B, frames, n_mels] FP32, dB of power -> embedding. A window has one length, so has a step."""

    max_steps = 1

    @property
    def constants(self) -> dict[str, str]:
        return super().constants | self.checkpoint.audio_parameters

    def forward(self, input_features: Tensor) -> Tensor:
        features = input_features[:, None].to(self.model.audio_projection.linear1.weight.dtype)
        pooled = self.model.audio_model(features).pooler_output
        return F.normalize(self.model.audio_projection(pooled).float(), dim=-1)

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"input_features": {0: BATCH}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, self.checkpoint.frames, self.checkpoint.n_mels)
        return {"input_features": (15 * torch.randn(shape, generator=generator) - 30).clamp(min=QUIET_DB)}


class ClapTextGraph(ClapGraph):
    """input_ids [B, N] INT32, attention_mask [B, N] INT32 -> embedding; one step is one token."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module) -> None:
        super().__init__(checkpoint, model)
        self.max_steps = checkpoint.max_tokens

    @property
    def constants(self) -> dict[str, str]:
        return super().constants | self.checkpoint.text_parameters

    @property
    def files(self) -> dict[str, str]:
        return {tokenizer.FILENAME: self.checkpoint.vocabulary}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled = self.model.text_model(input_ids=input_ids, attention_mask=attention_mask).pooler_output
        return F.normalize(self.model.text_projection(pooled).float(), dim=-1)

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        tokens = Dim("tokens", max=self.max_steps)
        return {"input_ids": {0: BATCH, 1: tokens}, "attention_mask": {0: BATCH, 1: tokens}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        pad_id, pieces = self.checkpoint.pad_id, self.checkpoint.config.text_config.vocab_size
        lengths = torch.randint(1, steps + 1, (batch, 1), generator=generator)
        lengths[0] = steps
        mask = (torch.arange(steps) < lengths).int()
        ids = torch.randint(pad_id + 1, pieces, (batch, steps), generator=generator, dtype=torch.int32)
        return {"input_ids": torch.where(mask > 0, ids, pad_id).int(), "attention_mask": mask}


@dataclass(frozen=True)
class ClapEntry(Entry):
    """Built of a model that is there, not of a file of ours."""

    def preset_of(self, weights: Weights) -> str:
        return "clap"

    def build(self, weights: Weights) -> ServedGraph:
        return self.graph(self.module(None))


def clap_entries(source: str) -> tuple[list[Entry], Weights]:
    """Both models of the repository out of one checkpoint. Raises ExportError when it cannot be had or served."""
    checkpoint = load_checkpoint(source)
    mel: Inputs = {"input_features": (model_config_pb2.TYPE_FP32, (checkpoint.frames, checkpoint.n_mels))}
    pieces: Inputs = dict.fromkeys(("input_ids", "attention_mask"), (model_config_pb2.TYPE_INT32, (-1,)))
    entries: list[Entry] = [
        ClapEntry(
            model,
            "embeddings",
            {},
            lambda _: copy.deepcopy(checkpoint.model),
            partial(graph, checkpoint),
            {name: derive(text, inputs, checkpoint, stated) for name, text in reviewed_texts(model).items()},
        )
        for model, graph, inputs, stated in (
            ("audio_embedder", ClapAudioGraph, mel, checkpoint.audio_parameters),
            ("text_embedder", ClapTextGraph, pieces, checkpoint.text_parameters),
        )
    ]
    return entries, Weights("ClapModel", {}, {}, checkpoint.weights_digest)


def derive(text: str, inputs: Inputs, checkpoint: Checkpoint, stated: dict[str, str]) -> str:
    """The reviewed configuration of our own model, with a checkpoint's tensors and parameters in it."""
    config = parse_config(text)
    del config.input[:]
    for name, (dtype, dims) in inputs.items():
        config.input.add(name=name, data_type=dtype, dims=dims)
    del config.output[0].dims[:]
    config.output[0].dims.append(checkpoint.dims)
    for sample in config.model_warmup:
        length = max(dim for spec in sample.inputs.values() for dim in spec.dims)
        sample.inputs.clear()
        for name, (dtype, dims) in inputs.items():
            sample.inputs[name].data_type = dtype
            sample.inputs[name].dims.extend(min(length, checkpoint.max_tokens) if dim == -1 else dim for dim in dims)
            sample.inputs[name].zero_data = True
    for key, value in (parameters(config) | stated | {"dims": str(checkpoint.dims)}).items():
        config.parameters[key].string_value = value or "unknown"  # an empty one is not written at all
    return "# CLAP, written by `auricle export --from-hf`.\n" + text_format.MessageToString(config)
