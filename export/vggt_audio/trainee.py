"""What the optimizer sees: the model, a head that only teaches, and what is minimised."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from export.errors import ExportError
from export.vggt_audio.block import Attention
from export.vggt_audio.loss import Terms, masked_mean
from export.vggt_audio.match_head import match_loss
from export.vggt_audio.matching import Projections, correspondences, matching_loss, places_in_first
from export.vggt_audio.materials import CLASSES
from export.vggt_audio.model import VGGTAudio
from export.vggt_audio.objective import Objective, Stage
from export.vggt_audio.pretrained import NEW, freeze_vggt

MATCHING_LAYERS = (1, 3)  # of the blocks across views
MATCHING_HEADS = 2  # of each; the others do what they like
SHIFT_LAYERS = 3  # of those that heads read: so many say where in the first view their patches are


class Trainee(nn.Module):
    """A batch -> the terms to minimise.

    Linear heads on the model's tokens teach, and are thrown away: `looks` names the material of each patch, `places`
    says where it is. Tokens learn both from them sooner than from full maps. Attention across views is told which
    patches show the same: found by chance, that takes longer than everything else together.
    """

    def __init__(
        self, model: VGGTAudio, objective: Objective, bf16: bool, mapped: float = 1.0, matches: float = 0.0
    ) -> None:
        """mapped: share of the pictures whose maps are learnt from in a step; dense heads are half of its time.
        matches: weight of attention's matching."""
        super().__init__()
        self.model, self.objective, self.bf16, self.mapped, self.matches = model, objective, bf16, mapped, matches
        width = 2 * model.config.embed_dim
        self.looks, self.places = nn.Linear(width, len(CLASSES)), nn.Linear(width, 3)
        self.shifts = nn.ModuleList(nn.Linear(width, 2) for _ in range(SHIFT_LAYERS if matches else 0))
        self._tokens: list[Tensor] = []
        self._matching: list[Projections] = []
        model.aggregator.register_forward_hook(self._keep)
        for layer in MATCHING_LAYERS if matches else ():
            attention = model.aggregator.global_blocks[layer].get_submodule("attn")
            attention.register_forward_pre_hook(self._keep_projections)

    def _keep(self, _: nn.Module, __: Any, answer: tuple[list[Tensor], int]) -> None:
        tokens, patch_start = answer
        self._tokens = [layer[:, :, patch_start:] for layer in tokens]

    def _keep_projections(self, attention: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(attention, Attention)
        queries, keys, _ = attention.project(*inputs)
        self._matching.append((queries[:, :MATCHING_HEADS], keys[:, :MATCHING_HEADS]))

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
        layers = [layer.float() for layer in self._tokens]
        tokens = layers[-1]
        answer |= {"looks": self.looks(tokens), "places": self.places(tokens)}
        terms: Terms = self.objective(answer, batch, mapped)
        if self._matching and "world_points" in batch and images.shape[1] > 1:
            wanted = correspondences(batch, self.model.config.patch_size)
            costs = [matching_loss(*projections, wanted) for projections in self._matching]
            terms["camera_matches"] = self.matches * torch.stack(costs).mean()
            at, known = places_in_first(wanted, images.shape[-1] // self.model.config.patch_size)
            misses = [(head(layer) - at).abs().mean(dim=-1) for head, layer in zip(self.shifts, layers, strict=False)]
            terms["camera_shifts"] = 4 * self.matches * masked_mean(torch.stack(misses).mean(dim=0), known)
        self._matching.clear()
        self._tokens.clear()
        return terms

    def _mapped(self, views: int, all_of_them: bool) -> Tensor:
        """[K]: which pictures' maps are learnt from; sound is rendered from all of them."""
        count = views if all_of_them else max(1, round(self.mapped * views))
        return torch.randperm(views)[:count].sort().values


class CamerasTrainee(nn.Module):
    """A batch -> how far matches across views are from the truth. All that sees stays as it is."""

    def __init__(self, model: VGGTAudio, bf16: bool) -> None:
        """Raises ExportError for a model that has no matches."""
        super().__init__()
        if model.match_head is None:
            raise ExportError("the model has no head that matches views: its configuration has a match_depth of 0")
        self.model, self.bf16 = model, bf16

    def forward(self, batch: Mapping[str, Tensor]) -> Terms:
        """`batch` is one of `dataset`, as tensors, of two views or more."""
        images = batch["images"].permute(0, 1, 4, 2, 3).float() / 255
        config, match_head = self.model.config, self.model.match_head
        assert match_head is not None
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            with torch.no_grad():
                tokens, patch_start = self.model.aggregator(images)
            size = (images.shape[-2], images.shape[-1])
            found = match_head([layer.float() for layer in tokens], patch_start, size, config.patch_size)
        return {"camera_matches": match_loss(found, correspondences(batch, config.patch_size))}


def freeze(model: VGGTAudio, stage: Stage) -> None:
    """Leave to training what the stage learns: VGGT, what VGGT does not have, both, or matches across views."""
    if stage is Stage.cameras:
        model.requires_grad_(False)
    if model.match_head is not None:
        model.match_head.requires_grad_(stage is Stage.cameras)
    if stage is Stage.acoustic:
        freeze_vggt(model)
    if stage is Stage.visual:
        for name, parameter in model.named_parameters():
            if name.startswith(NEW):
                parameter.requires_grad_(False)
