"""What is served of the vocoder: mel in dB of full scale -> waveform."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.export import Dim

from export.entries import BATCH, Case, Entry, Measure, Named, Precision, ServedGraph
from export.mel import MelConfig, example_mel, normalise
from export.vocoder.model import PRESETS, Vocoder

MEL = MelConfig()


class VocoderGraph(ServedGraph):
    """mel [B, T, F] FP32 -> waveform [B, T * hop] FP32. One step is one frame; there is no longest clip."""

    outputs = ("waveform",)
    max_steps = 1024
    model: Vocoder

    def forward(self, mel: Tensor) -> Tensor:
        waveform: Tensor = self.model(normalise(mel, MEL).to(self.model.head.weight.dtype))
        return waveform

    @property
    def constants(self) -> dict[str, str]:
        config = self.model.config
        return {
            "n_mels": str(config.n_mels),
            "hop_length": str(config.hop_length),
            "context_frames": str(config.context_frames),
        }

    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        return {"mel": {0: BATCH, 1: Dim("frames")}}

    def example(self, batch: int, steps: int, seed: int) -> Named:
        return {"mel": example_mel(batch, steps, torch.Generator().manual_seed(seed))}

    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        error = power = worst = 0.0
        for case in cases:
            expected, answer = self(**case.inputs), case.answer["waveform"]
            error += float((expected - answer).square().sum())
            power += float(expected.square().sum())
            worst = max(worst, float((expected - answer).abs().max()))
        if precision == "fp16":
            return [Measure("share of the power that is noise", error / power, 1e-4)]
        return [Measure("largest difference of a sample", worst, 1e-4)]

    def half(self) -> Self:
        """The inverse transform stays in float32: it sums hundreds of terms a sample."""
        super().half()
        self.model.inverse.float()
        return self


ENTRIES = (Entry("vocoder", "vocoder", PRESETS, Vocoder, VocoderGraph),)
