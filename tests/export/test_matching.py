"""Patches of two views that show the same place are found, and attention that looks there costs nothing."""

import pytest
import torch
from torch import Tensor

from export.vggt_audio.dataset import GeneratedScenes, Shape
from export.vggt_audio.matching import NOWHERE, correspondences, matching_loss
from export.vggt_audio.scenes import Generator
from tests.papered import papers

PATCH = 14
SHAPE = Shape(3, 3, 84, 112)
Batch = dict[str, Tensor]


@pytest.fixture(scope="module")
def batch() -> Batch:
    scenes = GeneratedScenes(Generator("train", papers()), 0, 0, [SHAPE], heard=0.0)
    return {name: torch.as_tensor(value) for name, value in scenes.batch(0).items()}


@pytest.fixture(scope="module")
def matches(batch: Batch) -> Tensor:
    return correspondences(batch, PATCH)


def test_matched_patches_show_the_same_place(batch: Batch, matches: Tensor) -> None:
    middles = batch["world_points"][:, :, 7::PATCH, 7::PATCH].flatten(2, 3)
    scene, view, patch, other = torch.nonzero(matches != NOWHERE, as_tuple=True)
    assert len(scene) > 50
    assert (view != other).all()
    found = middles[scene, other, matches[scene, view, patch, other]]
    apart = (middles[scene, view, patch] - found).norm(dim=-1)
    by_chance = (middles[scene, view, patch] - middles[scene, other].median(dim=1).values).norm(dim=-1)
    assert apart.median() < 0.3 * by_chance.median()  # half a patch, some metres away


def test_what_is_hidden_or_outside_has_no_match(batch: Batch, matches: Tensor) -> None:
    assert 0.02 < (matches != NOWHERE).float().mean() < 0.66
    curtained = batch | {"depth": 0.1 * batch["depth"]}  # something stands right before every camera
    assert (correspondences(curtained, PATCH) == NOWHERE).all()
    assert matching_loss(*2 * [torch.randn(3, 2, 3 * 50, 8)], torch.full_like(matches, NOWHERE)) == 0


def test_attention_that_knows_where_costs_nothing(matches: Tensor) -> None:
    scenes, views, patches, _ = matches.shape
    special = 5
    keys = torch.zeros(scenes, views, special + patches, patches)
    keys[:, :, special:] = torch.eye(patches)
    scene, view, patch, other = (index[:1] for index in torch.nonzero(matches != NOWHERE, as_tuple=True))
    wanted = torch.full_like(matches, NOWHERE)
    wanted[scene, view, patch, other] = matches[scene, view, patch, other]
    queries = torch.zeros_like(keys)
    queries[scene, view, special + patch] = 200 * torch.eye(patches)[wanted[scene, view, patch, other]]
    flat = [x.flatten(1, 2)[:, None] for x in (queries, keys)]
    assert matching_loss(flat[0], flat[1], wanted) < 1e-4
    blind = matching_loss(torch.zeros_like(flat[0]), flat[1], wanted)
    assert blind.item() == pytest.approx(torch.tensor(float(patches)).log().item(), rel=1e-4)
