"""What is served of VATT: a window of sound -> embedding, and word pieces -> embedding, in one space."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.export import Dim

from export.entries import BATCH, Case, Entry, Measure, Named, Precision, ServedGraph
from export.vatt import tokenizer
from export.vatt.bert import Bert
from export.vatt.front_end import LocalPatches
from export.vatt.measure import measure
from export.vatt.model import PRESETS, ListeningTower, Vatt
from export.vatt.space import space_id


class EmbedderGraph(ServedGraph):
    """embedding [B, D] FP32 of length 1."""

    outputs = ("embedding",)
    model: Vatt

    def __init__(self, model: Vatt) -> None:
        self.vocabulary = tokenizer.PATH.read_text(encoding="utf-8")
        about = json.dumps(asdict(model.config), sort_keys=True)
        self.space_id = space_id(model, about + tokenizer.digest(self.vocabulary))
        self.config = model.config
        super().__init__(model)

    @property
    def constants(self) -> dict[str, str]:
        return {"space_id": self.space_id, "dims": str(self.config.dims)}

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        return measure(self, cases, precision)


class AudioEmbedderGraph(EmbedderGraph):
    """waveform [B, L] FP32, valid_samples [B, 1] INT32 -> embedding; one step is one token of a fixed window.

    What is past valid_samples does not matter. valid_samples below 1 counts as 1.
    """

    def __init__(self, model: Vatt) -> None:
        super().__init__(model)
        self.max_steps = model.config.audio.max_tokens
        del model.text_trunk
        if isinstance(model.audio, ListeningTower) and isinstance(model.text, Bert):
            marks = model.text.lookup.weight[: tokenizer.MASK_ID]  # all that it looks up
            model.text.lookup = nn.Embedding.from_pretrained(marks)
        else:
            del model.text, model.text_head

    @property
    def constants(self) -> dict[str, str]:
        audio = self.config.audio
        window = {"sample_rate": str(audio.sample_rate), "window_samples": str(audio.window_samples)}
        return super().constants | window | {"frontend": "waveform"}

    def forward(self, waveform: Tensor, valid_samples: Tensor) -> Tensor:
        valid = valid_samples[:, 0].clamp(1, self.config.audio.window_samples)
        return self.model.encode_audio(waveform, valid).coarse

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"waveform": {0: BATCH}, "valid_samples": {0: BATCH}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        audio = self.config.audio
        longest = min(steps * audio.token_samples, audio.window_samples)
        valid = torch.randint(1, longest + 1, (batch, 1), generator=generator, dtype=torch.int32)
        valid[0] = longest
        waveform = 0.1 * torch.randn(batch, audio.window_samples, generator=generator)
        return {"waveform": waveform.clamp(-1, 1), "valid_samples": valid}

    def half(self) -> Self:
        """Powers and their logarithms stay in float32: half precision has not their range."""
        front_end = self.model.audio.front_end
        if isinstance(front_end, LocalPatches):
            basis, filters = front_end.basis, front_end.filters
            super().half()
            front_end.basis, front_end.filters = basis, filters
            return self
        return super().half()


class TextEmbedderGraph(EmbedderGraph):
    """input_ids [B, N] INT32, attention_mask [B, N] INT32 -> embedding; one step is one token.

    The first token counts whatever its mask says: a text of none has no embedding.
    """

    def __init__(self, model: Vatt) -> None:
        super().__init__(model)
        self.max_steps = model.config.text.max_tokens
        del model.audio, model.audio_head
        if not model.config.agnostic:
            del model.audio_trunk

    @property
    def constants(self) -> dict[str, str]:
        return super().constants | {
            "max_tokens": str(self.config.text.max_tokens),
            "pad_id": str(tokenizer.PAD_ID),
            "tokenizer": tokenizer.FILENAME,
            "tokenizer_sha256": tokenizer.digest(self.vocabulary),
        }

    @property
    def files(self) -> dict[str, str]:
        return {tokenizer.FILENAME: self.vocabulary}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        first, others = attention_mask[:, :1], attention_mask[:, 1:]
        return self.model.encode_text(input_ids, torch.cat([torch.ones_like(first), others], dim=1))

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        tokens = Dim("tokens", max=self.max_steps)
        return {"input_ids": {0: BATCH, 1: tokens}, "attention_mask": {0: BATCH, 1: tokens}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(self.config.text.vocabulary, (batch, steps), generator=generator, dtype=torch.int32)
        lengths = torch.randint(1, steps + 1, (batch, 1), generator=generator)
        lengths[0] = steps
        mask = (torch.arange(steps) < lengths).int()
        return {"input_ids": ids * mask, "attention_mask": mask}


ENTRIES = (
    Entry("audio_embedder", "embeddings", PRESETS, Vatt, AudioEmbedderGraph),
    Entry("text_embedder", "embeddings", PRESETS, Vatt, TextEmbedderGraph),
)
