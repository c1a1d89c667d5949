"""What is served of the tokenizer: mel -> tokens and tokens -> mel, mel in dB of full scale."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from export.bsq.model import PRESETS, AudioBSQ
from export.entries import BATCH, Case, Entry, Measure, Named, Precision, ServedGraph
from export.mel import MelConfig, denormalise, example_mel, normalise

MEL = MelConfig()
NEAR_BOUNDARY = 1e-3  # a sign closer to zero than this may flip between two correct implementations


class TokenizerGraph(ServedGraph):
    """One step is one time patch."""

    model: AudioBSQ

    def __init__(self, model: AudioBSQ) -> None:
        super().__init__(model)
        self.config = model.config
        self.max_steps = model.config.steps

    @property
    def constants(self) -> dict[str, str]:
        config = self.config
        return {
            "n_mels": str(config.n_mels),
            "time_patch": str(config.time_patch),
            "freq_patch": str(config.freq_patch),
            "bits": str(config.quantizer.bits),
            "window_frames": str(config.num_frames),
        }

    def steps(self) -> Any:
        return Dim("steps", max=self.max_steps)

    def _num_frames(self, batch: int, steps: int, generator: torch.Generator) -> Tensor:
        """[batch, 1] int32: the first item is whole, the others are padded."""
        frames = steps * self.config.time_patch
        counts = torch.randint(1, frames + 1, (batch, 1), generator=generator, dtype=torch.int32)
        counts[0] = frames
        return counts


class EncoderGraph(TokenizerGraph):
    """mel [B, T, F] FP32, num_frames [B, 1] INT32 -> tokens [B, N] INT64.

    What the padding holds does not matter, tokens that hold nothing else are 0. num_frames below 1 counts as 1.
    """

    outputs = ("tokens",)

    def forward(self, mel: Tensor, num_frames: Tensor) -> Tensor:
        return self.model.encode(*self._model_inputs(mel, num_frames))

    def _model_inputs(self, mel: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        num_frames = num_frames[:, 0].clamp(min=1)
        frames = torch.arange(mel.shape[1], device=mel.device)
        mel = torch.where((frames < num_frames[:, None])[..., None], mel, MEL.db_min)
        return normalise(mel, MEL).to(self.model.quant_embed.weight.dtype), num_frames

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"mel": {0: BATCH, 1: self.config.time_patch * self.steps()}, "num_frames": {0: BATCH}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        frames = steps * self.config.time_patch
        return {
            "mel": example_mel(batch, frames, generator),
            "num_frames": self._num_frames(batch, steps, generator),
        }

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        differing = clear = tokens_equal = tokens = 0
        for case in cases:
            z = self.model.latents(*self._model_inputs(**case.inputs))
            expected, answer = self(**case.inputs), case.answer["tokens"]
            flipped = ((expected ^ answer)[..., None] // self.model.quantizer.powers) % 2 == 1
            differing += int(flipped.sum())
            clear += int((flipped & (z.abs() > NEAR_BOUNDARY)).sum())
            tokens_equal += int((expected == answer).sum())
            tokens += answer.numel()
        if precision == "fp16":
            return [Measure("token agreement", tokens_equal / tokens, 0.98, at_least=True)]
        return [
            Measure("clear bits that differ", clear, 0),
            Measure("share of bits that differ", differing / (tokens * self.config.quantizer.bits), 1e-4),
        ]


class DecoderGraph(TokenizerGraph):
    """tokens [B, N] INT64, num_frames [B, 1] INT32 -> mel [B, T, F] FP32; frames past num_frames are at the floor."""

    outputs = ("mel",)

    def forward(self, tokens: Tensor, num_frames: Tensor) -> Tensor:
        mel = self.model.decode(tokens, num_frames[:, 0].clamp(min=1))
        return denormalise(mel.float(), MEL)

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"tokens": {0: BATCH, 1: self.config.bands * self.steps()}, "num_frames": {0: BATCH}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, steps * self.config.bands)
        return {
            "tokens": torch.randint(0, 2**self.config.quantizer.bits, shape, generator=generator),
            "num_frames": self._num_frames(batch, steps, generator),
        }

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        worst = max(float((self(**case.inputs) - case.answer["mel"]).abs().max()) for case in cases)
        return [Measure("largest difference in dB", worst, {"fp32": 0.01, "fp16": 0.25}[precision])]


ENTRIES = (
    Entry("tokenizer_encoder", "tokenizer", PRESETS, AudioBSQ, EncoderGraph),
    Entry("tokenizer_decoder", "tokenizer", PRESETS, AudioBSQ, DecoderGraph),
)
