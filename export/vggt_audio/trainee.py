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

    Linear heads on the model's tokens teach, and are thrown away: `looks` names the material of each patch, `places`
    says where it is. Tokens learn both from them sooner than from full maps.
    """

    def __init__(self, model: VGGTAudio, objective: Objective, bf16: bool, mapped: float = 1.0) -> None:
        """mapped: share of the pictures whose maps are learnt from in a step; dense heads are half of its time."""
        super().__init__()
        self.model, self.objective, self.bf16, self.mapped = model, objective, bf16, mapped
        width = 2 * model.config.embed_dim
        self.looks, self.places = nn.Linear(width, len(CLASSES)), nn.Linear(width, 3)
        self._tokens: list[Tensor] = []
        model.aggregator.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, answer: tuple[list[Tensor], int]) -> None:
        tokens, patch_start = answer
        self._tokens = [tokens[-1][:, :, patch_start:]]

    def forward(self, batch: Mapping[str, Tensor]) -> Terms:
        """`batch` is one of `dataset`, as tensors."""
        images = batch["images"].permute(0, 1, 4, 2, 3).float() / 255
        mapped = self._mapped(images.shape[1], "binaural" in batch)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            answer: dict[str, Any] = self.model(
                images,
                audio_features=batch.get("audio_features"),
                audio_valid=batch.get("audio_valid"),
                mapped=mapped,
            )
        tokens = self._tokens.pop().float()
        answer |= {"looks": self.looks(tokens), "places": self.places(tokens)}
        terms: Terms = self.objective(answer, batch, mapped)
        return terms

    def _mapped(self, views: int, all_of_them: bool) -> Tensor:
        """[K]: which pictures' maps are learnt from; sound is rendered from all of them."""
        count = views if all_of_them else max(1, round(self.mapped * views))
        return torch.randperm(views)[:count].sort().values


def freeze(model: VGGTAudio, stage: Stage) -> None:
    """Leave to training what the stage learns: VGGT, what VGGT does not have, or both."""
    if stage is Stage.acoustic:
        freeze_vggt(model)
    if stage is Stage.visual:
        for name, parameter in model.named_parameters():
            if name.startswith(NEW):
                parameter.requires_grad_(False)
