"""Patches of two views that show the same place are found, and attention that looks there costs nothing."""

import math

import pytest
import torch
from torch import Tensor

from export.vggt_audio.dataset import GeneratedScenes, Shape
from export.vggt_audio.matching import NOWHERE, correspondences, matching_loss, places_in_first
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
    keys = torch.zeros(scenes, views, special + patches, views * patches)
    keys[:, :, special:] = torch.eye(views * patches).unflatten(0, (views, patches))
    scene, view, patch, other = (index[:1] for index in torch.nonzero(matches != NOWHERE, as_tuple=True))
    wanted = torch.full_like(matches, NOWHERE)
    wanted[scene, view, patch, other] = matches[scene, view, patch, other]
    queries = torch.zeros_like(keys)
    place = other * patches + wanted[scene, view, patch, other]
    queries[scene, view, special + patch] = 400 * torch.eye(views * patches)[place]
    q, k = (x.flatten(1, 2)[:, None].requires_grad_() for x in (queries, keys))
    cost = matching_loss(q, k, wanted)
    assert cost < 1e-4
    cost.backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()
    blind = matching_loss(torch.zeros_like(q), k, wanted)
    assert blind.item() == pytest.approx(math.log(views * (special + patches)), rel=1e-4)


def test_places_in_the_first_view_run_from_edge_to_edge() -> None:
    wanted = torch.full((1, 2, 6, 2), NOWHERE)
    wanted[0, 1, :, 0] = torch.tensor([0, 2, 4, NOWHERE, 5, 3])
    at, known = places_in_first(wanted, columns=3)
    assert known.tolist() == [[[False] * 6, [True, True, True, False, True, True]]]
    expected = [[-2 / 3, -0.5], [2 / 3, -0.5], [0, 0.5], [2 / 3, 0.5], [-2 / 3, 0.5]]
    torch.testing.assert_close(at[0, 1][known[0, 1]], torch.tensor(expected))
