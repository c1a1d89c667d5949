"""Sound and cameras of generated and of filmed rooms teach what they can, and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from export.vggt_audio.captures import Captures
from export.vggt_audio.dataset import FilmedRooms, GeneratedScenes, Mixture, Shape
from export.vggt_audio.objective import Objective, Stage
from export.vggt_audio.scenes import Generator
from tests.filmed import RATE, filmed_scene
from tests.papered import papers

SHAPE = Shape(2, 4, 42, 56)
Batch = dict[str, Tensor]


def tensors(batch: dict[str, Any]) -> Batch:
    return {name: torch.as_tensor(value) for name, value in batch.items()}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator("train", papers())


@pytest.fixture(scope="module")
def generated(generator: Generator) -> Batch:
    return tensors(GeneratedScenes(generator, 0, 0, [SHAPE], heard=1.0).batch(0))


@pytest.fixture(scope="module")
def rooms(generator: Generator) -> FilmedRooms:
    capture = filmed_scene(generator.scene(1, 6, 42, 56))
    return FilmedRooms(Captures([capture], 6, 42, 56, audio_s=1.0, lead_s=1.0), 0, 0, heard=1.0)


@pytest.fixture(scope="module")
def filmed(rooms: FilmedRooms) -> Batch:
    return tensors(rooms.batch(0))


def objective(stage: Stage = Stage.joint, *, metric: bool = True, rendering: float = 1.0) -> Objective:
    return Objective(stage, metric=metric, patch_size=14, material=0.2, places=0.5, rendering=rendering)


def answer(batch: Batch, absorption: Tensor, depth: Tensor) -> dict[str, Any]:
    """What a model might say that sees this absorption and depth, and the true cameras."""
    shape = depth.shape[:4]
    return {
        "pose_enc_list": [batch["pose_enc"]],
        "pose_enc": batch["pose_enc"],
        "depth": depth,
        "depth_conf": torch.ones(shape),
        "acoustic_properties": {
            "absorption": absorption,
            "reflection": torch.zeros(*shape, 1),
            "scattering": torch.full((*shape, 1), 0.1),
            "impedance": torch.ones(*shape, 2),
        },
        "acoustic_conf": torch.full(shape, 0.7),
        "looks": torch.zeros(*shape[:2], shape[2] // 14 * (shape[3] // 14), 12),
        "places": torch.zeros(*shape[:2], shape[2] // 14 * (shape[3] // 14), 3),
    }


def cost(batch: Batch, absorption: Tensor, depth: Tensor, name: str = "rendering") -> float:
    return float(objective()(answer(batch, absorption, depth), batch)[name].item())


def test_the_true_materials_sound_most_like_the_recording(generated: Batch) -> None:
    truth, depth = generated["absorption"], generated["depth"]
    right = cost(generated, truth, depth)
    assert right < cost(generated, 0.4 * truth, depth)
    assert right < cost(generated, (2.5 * truth).clamp(max=1), depth)


def test_sound_moves_absorption_and_leaves_geometry_alone(generated: Batch) -> None:
    absorption = torch.full_like(generated["absorption"], 0.9).requires_grad_()
    depth = generated["depth"].clone().requires_grad_()
    terms = objective()(answer(generated, absorption, depth), generated)
    sound = terms["rendering"] + terms["perceptual"] + terms["rt60"]
    by_absorption, by_depth = torch.autograd.grad(sound, (absorption, depth), allow_unused=True)
    assert by_depth is None
    assert by_absorption.isfinite().all()
    assert (by_absorption.flatten(0, -2).sum(dim=0) > 0).all()  # less, in every band


def test_the_weight_of_sound_can_be_nothing(generated: Batch, filmed: Batch) -> None:
    for batch in (generated, filmed):
        maps = torch.full((*batch["images"].shape[:4], 8), 0.3)
        depth = torch.ones(*batch["images"].shape[:4], 1)
        loud = objective(rendering=2.0)(answer(batch, maps, depth), batch)
        soft = objective(rendering=1.0)(answer(batch, maps, depth), batch)
        silent = objective(rendering=0.0)(answer(batch, maps, depth), batch)
        assert loud["physical"] == 2 * soft["physical"]
        assert {"rendering", "perceptual", "physical", "rt60"}.isdisjoint(silent)
        assert {name: loud[name] for name in silent} == silent


def test_a_filmed_room_is_heard_in_the_box_that_was_seen(
    filmed: Batch, generator: Generator, rooms: FilmedRooms
) -> None:
    """With the true depth sound teaches absorption; with a flat picture there is no room, and nothing is rendered."""
    truth = generator.scene(1, 6, 42, 56).example()
    absorption, depth = (torch.from_numpy(truth[name])[None] for name in ("absorption", "depth"))
    right = cost(filmed, absorption, depth)
    assert right < cost(filmed, torch.full_like(absorption, 0.9), depth)
    maps = torch.full_like(absorption, 0.9).requires_grad_()
    terms = objective()(answer(filmed, maps, depth), filmed)
    (gradient,) = torch.autograd.grad(terms["perceptual"] + terms["rt60"], maps)
    assert gradient.sum() > 0
    unseen = objective()(answer(filmed, maps, 0.01 * depth), filmed)
    assert set(unseen) == {"camera", "room_absorption", "physical"}


def test_what_a_room_absorbs_on_average_is_learnt_where_it_was_measured(filmed: Batch) -> None:
    maps, depth = torch.full((*filmed["images"].shape[:4], 8), 0.3), torch.ones(*filmed["images"].shape[:4], 1)
    measured = filmed | {"room_absorption": torch.tensor([[0.5] * 4 + [torch.nan] * 4])}
    assert cost(measured, maps, depth, "room_absorption") == pytest.approx(0.2, abs=1e-5)
    unmeasured = filmed | {"room_absorption": torch.full((1, 8), torch.nan)}
    assert cost(unmeasured, maps, depth, "room_absorption") == 0


def test_pictures_without_sound_are_not_compared(filmed: Batch, generator: Generator) -> None:
    truth = generator.scene(1, 6, 42, 56).example()
    depth = torch.from_numpy(truth["depth"])[None]
    maps = torch.full((*depth.shape[:4], 8), 0.3)
    silent = filmed | {"audio_valid": torch.zeros(1, 6, dtype=torch.bool), "binaural": 0 * filmed["binaural"]}
    assert cost(silent, maps, depth) == 0
    assert cost(silent, maps, depth, "perceptual") == pytest.approx(0, abs=1e-6)


def test_each_stage_minimises_its_own(generated: Batch, filmed: Batch) -> None:
    def names(batch: Batch, stage: Stage, *, metric: bool = True) -> set[str]:
        maps, depth = torch.full((*batch["images"].shape[:4], 8), 0.3), torch.ones(*batch["images"].shape[:4], 1)
        return set(objective(stage, metric=metric)(answer(batch, maps, depth), batch))

    geometry = {"camera", "depth_error", "depth_conf", "depth_grad", "depth_places"}
    assert names(generated, Stage.visual) == geometry | {"material"}
    assert names(filmed, Stage.visual) == {"camera"}
    assert names(generated, Stage.joint) >= geometry | {"material", "absorption", "rendering", "rt60"}
    assert names(generated, Stage.acoustic) == names(generated, Stage.joint)
    # Lengths in an unknown unit cannot be compared with metres.
    assert names(generated, Stage.acoustic, metric=False) == names(generated, Stage.joint) - geometry


@pytest.mark.parametrize("unit", [0.5, 3.0])
def test_a_model_without_metres_takes_them_from_the_cameras(filmed: Batch, generator: Generator, unit: float) -> None:
    truth = generator.scene(1, 6, 42, 56).example()
    absorption, depth = (torch.from_numpy(truth[name])[None] for name in ("absorption", "depth"))
    scaled = answer(filmed, absorption, unit * depth)
    scaled["pose_enc"] = filmed["pose_enc"] * torch.tensor([unit] * 3 + [1.0] * 6)
    terms = objective(Stage.acoustic, metric=False)(scaled, filmed)
    assert terms["rendering"].item() == pytest.approx(cost(filmed, absorption, depth), rel=0.02)
    still = dict(filmed) | {"pose_enc": filmed["pose_enc"] * torch.tensor([0.0] * 3 + [1.0] * 6)}
    assert set(objective(Stage.acoustic, metric=False)(scaled, still)) == {"room_absorption", "physical"}


class TestBatches:
    def test_a_filmed_batch_follows_from_its_number(self, rooms: FilmedRooms) -> None:
        first, again = rooms.batch(3), rooms.batch(3)
        assert all(np.array_equal(value, again[name], equal_nan=True) for name, value in first.items())
        assert first["audio_features"].shape == (1, 6, 256)
        assert first["binaural"].shape == (1, 6, 2, RATE // 4)
        assert first["source"].shape == (1, 6, RATE + RATE // 4)
        silent = FilmedRooms(rooms.captures, 0, 0, heard=0.0).batch(3)
        assert "audio_features" not in silent
        assert "binaural" in silent

    def test_the_middle_of_the_sound_is_kept(self, rooms: FilmedRooms) -> None:
        whole = rooms.captures[0]
        kept = rooms.batch(0)
        start = (RATE - RATE // 4) // 2
        np.testing.assert_array_equal(kept["binaural"][0], whole["binaural"][..., start : start + RATE // 4])
        np.testing.assert_array_equal(kept["source"][0], whole["source"][..., start : start + RATE + RATE // 4])

    def test_filmed_rooms_take_their_share(self, generator: Generator, rooms: FilmedRooms) -> None:
        generated = GeneratedScenes(generator, 0, 0, [Shape(1, 1, 14, 14)], heard=0.0)
        mixed = Mixture(generated, rooms, 0.4)
        kinds = ["room_absorption" in mixed.batch(number) for number in range(40)]
        assert 8 < sum(kinds) < 24
        assert kinds == ["room_absorption" in mixed.batch(number) for number in range(40)]
