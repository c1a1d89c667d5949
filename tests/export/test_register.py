"""Poses from matches: right where views see the same, and known to be guesses where they do not."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.export import Dim

from export.vggt_audio.block import Block
from export.vggt_audio.match_head import Descriptors, MatchHead, match_loss
from export.vggt_audio.register import nearest_rotation, register

PATCHES = 24


def scene(views: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """points [1, S, N, 3] of a room in each camera's frame, extrinsics [1, S, 3, 4] of the first, and matches: view s
    sees the same places as the view before it, in another order, and half of those before that."""
    chance = np.random.default_rng(seed)
    turns = Rotation.from_euler("yx", chance.uniform(-1, 1, (views, 2)) * [1.5, 0.3])
    shifts = chance.uniform(-1, 1, (views, 3))
    numbers = np.stack([chance.permutation(PATCHES) + s * PATCHES // 2 for s in range(views)])
    places = chance.uniform([-2, -1, 2], [2, 1, 5], (numbers.max() + 1, 3))
    points = np.stack(
        [turn.apply(places[row]) + shift for turn, shift, row in zip(turns, shifts, numbers, strict=True)]
    )
    same = numbers[:, None, :, None] == numbers[None, :, None, :]
    rotations = np.stack([(turn * turns[0].inv()).as_matrix() for turn in turns])
    centred = shifts - (rotations @ shifts[0][:, None])[..., 0]
    extrinsics = np.concatenate([rotations, centred[..., None]], axis=-1)
    return tuple(torch.tensor(x[None], dtype=torch.float32) for x in (points, extrinsics, 0.9 * same))  # type: ignore[return-value]


@pytest.mark.parametrize("views", [1, 2, 5])
def test_views_that_see_the_same_are_placed_exactly(views: int) -> None:
    points, extrinsics, matches = scene(views, seed=views)
    found, confidence = register(points, matches)
    torch.testing.assert_close(found, extrinsics, atol=2e-3, rtol=0)
    assert (confidence >= 3).all()


def test_false_matches_and_wrong_depths_are_weighed_out() -> None:
    degrees = []
    for seed in range(1, 10):
        points, extrinsics, matches = scene(2, seed)
        chance = np.random.default_rng(0)
        falsified(matches, every=6)
        points[0, 1] *= torch.tensor(chance.normal(1, 0.01, (PATCHES, 1)), dtype=torch.float32)
        degrees.append(turned_wrongly(register(points, matches)[0], extrinsics))
    assert np.median(degrees) < 2


def test_where_depth_and_many_matches_are_wrong_cameras_are_believed_to_stand_together() -> None:
    away, degrees, missed = [], [], []
    for seed in range(1, 20):
        points, extrinsics, matches = scene(2, seed)
        chance = np.random.default_rng(seed)
        noise = chance.normal(0, 0.3, (1, 2, 1, 1)) + chance.normal(0, 0.2, (1, 2, PATCHES, 1))
        points = points * torch.tensor(np.exp(noise), dtype=torch.float32)
        falsified(matches, every=3)
        found, _ = register(points, matches)
        missed.append(float((found[0, 1, :, 3] - extrinsics[0, 1, :, 3]).norm()))
        away.append(float(extrinsics[0, 1, :, 3].norm()))
        degrees.append(turned_wrongly(found, extrinsics))
    assert np.mean(missed) < np.mean(away)  # better than to say that they do
    assert np.mean(degrees) < 20


def falsified(matches: Tensor, every: int) -> None:
    """Of so many patches one is told to be another."""
    for patch in range(0, PATCHES, every):
        matches[0, 0, 1, patch] = matches[0, 0, 1, patch].roll(1)
    matches[0, 1, 0] = matches[0, 0, 1].T


def turned_wrongly(found: Tensor, extrinsics: Tensor) -> float:
    """Degrees between what is found for the second view and the truth."""
    turned = found[0, 1, :, :3] @ extrinsics[0, 1, :, :3].T
    return float(((turned.trace() - 1) / 2).clamp(-1, 1).acos().rad2deg())


def test_a_view_that_nothing_ties_to_the_others_is_known_to_be_a_guess() -> None:
    points, extrinsics, matches = scene(4, seed=5)
    matches[:, 3] = matches[:, :, 3] = 1e-6
    found, confidence = register(points, matches)
    assert (confidence[0, :3] >= 3).all()
    assert confidence[0, 3] < 0.1
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, :3], extrinsics[:, :3], atol=2e-3, rtol=0)


def test_rooms_of_a_batch_are_placed_alone() -> None:
    scenes = [scene(3, seed) for seed in (1, 2)]
    points, _, matches = (torch.cat(parts) for parts in zip(*scenes, strict=True))
    together = register(points, matches)[0]
    for number, (own, _, same) in enumerate(scenes):
        torch.testing.assert_close(together[number : number + 1], register(own, same)[0], atol=1e-5, rtol=0)


def test_the_nearest_rotation_is_that_of_a_singular_value_decomposition() -> None:
    products = torch.randn(20, 3, 3, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(products)
    sign = torch.linalg.det(u @ v)
    flip = torch.diag_embed(torch.stack([torch.ones(20), torch.ones(20), sign], dim=-1))
    torch.testing.assert_close(nearest_rotation(products), u @ flip @ v, atol=1e-2, rtol=0)


@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning", "ignore:.*axis name.*:UserWarning")
def test_it_exports_with_any_number_of_views(tmp_path: Path) -> None:
    class Placed(nn.Module):
        def forward(self, points: Tensor, matches: Tensor) -> tuple[Tensor, Tensor]:
            return register(points, matches)

    points, _, matches = scene(3, seed=1)
    rooms, views, path = Dim("rooms"), Dim("views", min=1, max=16), tmp_path / "register.onnx"
    dynamic = {"points": {0: rooms, 1: views}, "matches": {0: rooms, 1: views, 2: views}}
    example = (points.repeat(2, 1, 1, 1), matches.repeat(2, 1, 1, 1, 1))
    torch.onnx.export(Placed().eval(), example, path, dynamo=True, dynamic_shapes=dynamic, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 2, 5):
        points, extrinsics, matches = scene(count, seed=count)
        names = [node.name for node in session.get_inputs()]
        found, _ = session.run(None, dict(zip(names, (points.numpy(), matches.numpy()), strict=True)))
        np.testing.assert_allclose(found, extrinsics.numpy(), atol=2e-3)


def test_matches_are_learnt_and_are_of_both_views() -> None:
    torch.manual_seed(0)
    head = MatchHead(token_width=16, width=32, depth=1, heads=2, mlp_ratio=2.0, rope_base=100.0)
    looks = torch.randn(PATCHES, 16)
    order = torch.randperm(PATCHES)
    tokens = torch.stack([looks, looks[order]])[None]
    wanted = torch.full((1, 2, PATCHES, 2), -1)
    wanted[0, 0, :, 1], wanted[0, 1, :, 0] = order.argsort(), order
    wanted[0, 0, 0, 1] = wanted[0, 1, int(order.argsort()[0]), 0] = -1  # one that is hidden there
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(80):
        found = head([tokens, tokens], 0, (64, 96), 16)
        loss = match_loss(found, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    matches = head([tokens, tokens], 0, (64, 96), 16).matches()[0].detach()
    torch.testing.assert_close(matches[0, 1], matches[1, 0].T)
    best = matches[0, 1].argmax(-1)
    assert (best[1:] == order.argsort()[1:]).all()
    assert float(matches[0, 1, 0].max()) < 0.2
    assert isinstance(head.frame_blocks[0], Block)


def test_descriptors_that_are_alone_match_nothing() -> None:
    vectors = torch.zeros(1, 2, 4, 8)
    alone = torch.full((1, 2, 4), 20.0)
    assert float(Descriptors(vectors, alone).matches().max()) < 1e-6
