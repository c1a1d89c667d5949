"""What the optimizer sees: the model, a head that only teaches, and what is minimised."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from export.vggt_audio.loss import Terms
from export.vggt_audio.materials import CLASSES
from export.vggt_audio.model import VGGTAudio
from export.vggt_audio.objective import Objective, Stage
from export.vggt_audio.pretrained import NEW, freeze_vggt


class Trainee(nn.Module):
    """A batch -> the terms to minimise.

    A linear head on the model's tokens names the material of each patch: it teaches the tokens to tell materials apart
    sooner than absorption alone does, and is thrown away.
    """

    def __init__(self, model: VGGTAudio, objective: Objective, bf16: bool) -> None:
        super().__init__()
        self.model, self.objective, self.bf16 = model, objective, bf16
        self.looks = nn.Linear(2 * model.config.embed_dim, len(CLASSES))
        self._tokens: list[Tensor] = []
        model.aggregator.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, answer: tuple[list[Tensor], int]) -> None:
        tokens, patch_start = answer
        self._tokens = [tokens[-1][:, :, patch_start:]]

    def forward(self, batch: Mapping[str, Tensor]) -> Terms:
        """`batch` is one of `dataset`, as tensors."""
        images = batch["images"].permute(0, 1, 4, 2, 3).float() / 255
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            answer: dict[str, Any] = self.model(
                images, audio_features=batch.get("audio_features"), audio_valid=batch.get("audio_valid")
            )
        terms: Terms = self.objective(answer | {"looks": self.looks(self._tokens.pop().float())}, batch)
        return terms


def freeze(model: VGGTAudio, stage: Stage) -> None:
    """Leave to training what the stage learns: VGGT, what VGGT does not have, or both."""
    if stage is Stage.acoustic:
        freeze_vggt(model)
    if stage is Stage.visual:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith(NEW))
