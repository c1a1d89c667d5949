"""What the losses of VGGT-Audio reward and punish."""

import math

import pytest
import torch
from torch import Tensor

from export.vggt_audio.acoustics import reverberation_time
from export.vggt_audio.loss import (
    AcousticLoss,
    camera_loss,
    gradient_loss,
    impedance_error,
    map_loss,
    material_loss,
    physical_loss,
    quantile,
    rt60_loss,
    scene_scale,
    supervised_loss,
)

B, S, H, W = 2, 3, 6, 8
Batch = dict[str, Tensor]


@pytest.fixture
def batch() -> Batch:
    chance = torch.Generator().manual_seed(1)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=chance)

    return {
        "pose_enc": uniform(B, S, 9),
        "depth": uniform(B, S, H, W, 1, low=1, high=5),
        "world_points": uniform(B, S, H, W, 3, low=-4, high=4),
        "valid": torch.ones(B, S, H, W, dtype=torch.bool),
        "absorption": uniform(B, S, H, W, 8),
        "scattering": uniform(B, S, H, W, 1),
        "impedance": uniform(B, S, H, W, 1, low=1, high=40),
    }


def perfect(batch: Batch) -> dict[str, object]:
    """Predictions that agree with the truth and trust themselves."""
    return {
        "pose_enc_list": [batch["pose_enc"].clone()] * 4,
        "depth": batch["depth"].clone(),
        "depth_conf": torch.ones(B, S, H, W),
        "world_points": batch["world_points"].clone(),
        "world_points_conf": torch.ones(B, S, H, W),
        "acoustic_properties": {
            "absorption": batch["absorption"].clone(),
            "scattering": batch["scattering"].clone(),
            "reflection": 1 - batch["absorption"].amax(dim=-1, keepdim=True),
            "impedance": torch.cat([batch["impedance"], torch.zeros(B, S, H, W, 1)], dim=-1),
        },
        "acoustic_conf": torch.ones(B, S, H, W),
    }


def test_the_truth_costs_nothing(batch: Batch) -> None:
    terms = supervised_loss(perfect(batch), batch)
    assert set(terms) == {
        "camera",
        *(f"{name}_{part}" for name in ("depth", "world_points") for part in ("error", "conf", "grad")),
        *("absorption", "acoustic_conf", "reflection", "scattering", "impedance"),
    }
    for name, value in terms.items():
        assert value.item() == pytest.approx(0, abs=1e-6), name


def test_a_head_that_is_switched_off_has_no_terms(batch: Batch) -> None:
    predictions = {"depth": batch["depth"], "depth_conf": torch.ones(B, S, H, W)}
    assert set(supervised_loss(predictions, batch)) == {"depth_error", "depth_conf", "depth_grad"}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e30])
@pytest.mark.parametrize("name", ["depth", "world_points", "absorption", "scattering", "impedance"])
def test_what_is_masked_out_is_never_read(batch: Batch, name: str, bad: float) -> None:
    predictions = perfect(batch)
    batch["valid"][0, 0, 0, 0] = False
    batch[name][0, 0, 0, 0] = bad
    assert sum(supervised_loss(predictions, batch).values()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e4, 1e20])
@pytest.mark.parametrize("broken", ["nothing", "mask", "truth"])
def test_losses_and_gradients_are_finite_whatever_comes(batch: Batch, scale: float, broken: str) -> None:
    if broken == "mask":
        batch["valid"][:] = False
    if broken == "truth":
        for name in ("depth", "world_points", "absorption", "scattering", "impedance", "pose_enc"):
            batch[name].view(-1)[::2] = math.nan
    raw = torch.randn(B, S, H, W, 20, generator=torch.Generator().manual_seed(0)).mul(scale).requires_grad_()
    pose = torch.randn(B, S, 9).mul(scale).requires_grad_()
    properties = {
        "absorption": raw[..., :8].sigmoid(),
        "reflection": raw[..., 8:9].sigmoid(),
        "scattering": raw[..., 9:10].sigmoid(),
        "impedance": raw[..., 10:12],
    }
    predictions = {
        "pose_enc_list": [pose, 2 * pose],
        "depth": raw[..., 12:13],
        "depth_conf": 1 + raw[..., 13].clamp(max=80).exp(),
        "world_points": raw[..., 14:17],
        "world_points_conf": 1 + raw[..., 17].clamp(max=80).exp(),
        "acoustic_properties": properties,
        "acoustic_conf": raw[..., 18].sigmoid(),
    }
    total = sum(supervised_loss(predictions, batch).values(), torch.zeros(())) + physical_loss(properties)
    total.backward()
    for tensor in (total, raw.grad, pose.grad):
        assert tensor is not None
        assert tensor.isfinite().all()


def test_later_refinements_of_the_camera_count_more(batch: Batch) -> None:
    truth, scale = batch["pose_enc"], torch.ones(B)
    wrong = truth + 0.1
    early = camera_loss([wrong, truth, truth], truth, scale)["camera"]
    late = camera_loss([truth, truth, wrong], truth, scale)["camera"]
    assert late.item() == pytest.approx(5 / 3 * (0.1 + 0.1 + 0.05), rel=1e-5)
    assert early.item() == pytest.approx(0.36 * late.item(), rel=1e-5)


def test_a_quaternion_and_its_negative_are_one_rotation(batch: Batch) -> None:
    turned = batch["pose_enc"].clone()
    turned[..., 3:7] *= -1
    assert camera_loss([turned], batch["pose_enc"], torch.ones(B))["camera"].item() == pytest.approx(0, abs=1e-7)


def test_errors_count_relative_to_the_size_of_the_scene(batch: Batch) -> None:
    valid, conf = batch["valid"], torch.ones(B, S, H, W)
    small, large = scene_scale(batch["world_points"], valid), scene_scale(10 * batch["world_points"], valid)
    assert torch.allclose(large, 10 * small)
    near = map_loss(1.1 * batch["depth"], conf, batch["depth"], valid, small)
    far = map_loss(11 * batch["depth"], conf, 10 * batch["depth"], valid, large)
    for name in near:
        assert far[name].item() == pytest.approx(near[name].item(), rel=1e-4)


def test_a_few_wild_pixels_do_not_change_what_is_learnt(batch: Batch) -> None:
    depth = batch["depth"].clone()
    depth[0, 0, 0, :2] += 1000
    terms = map_loss(depth, torch.ones(B, S, H, W), batch["depth"], batch["valid"], torch.ones(B))
    assert terms["error"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("error", "best"), [(0.02, 10.0), (0.1, 2.0)])
def test_the_best_confidence_falls_with_the_error(batch: Batch, error: float, best: float) -> None:
    def cost(confidence: float) -> float:
        maps = torch.full((B, S, H, W), confidence)
        off = batch["depth"] + error
        return map_loss(off, maps, batch["depth"], batch["valid"], torch.ones(B))["conf"].item()

    assert cost(best) < min(cost(0.8 * best), cost(1.25 * best))


def test_a_constant_offset_has_no_slope_and_a_ramp_has(batch: Batch) -> None:
    known = batch["valid"]
    assert gradient_loss(torch.full((B, S, H, W, 1), 0.3), known).item() == 0
    ramp = torch.linspace(0, 0.07, W).expand(B, S, H, W)[..., None]
    assert gradient_loss(ramp, known).item() == pytest.approx(0.01 * (1 + 2 + 4) / 3, rel=1e-4)


def test_a_mistake_on_a_hard_wall_costs_more_than_on_a_soft_one(batch: Batch) -> None:
    def cost(alpha: float) -> float:
        batch["absorption"].fill_(alpha)
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        properties["absorption"] = properties["absorption"] + 0.02
        return material_loss(properties, torch.ones(B, S, H, W), batch)["absorption"].item()

    assert cost(0.02) > 2 * cost(0.5)


def test_impedance_errors_are_those_of_the_reflection_they_cause() -> None:
    wall = torch.tensor([198.0])
    assert impedance_error(torch.tensor([198.0, 0.0]), wall).item() == pytest.approx(0, abs=1e-6)
    near, far = (impedance_error(torch.tensor([z, 0.0]), wall).item() for z in (150.0, 1.0))
    assert near < 0.01
    assert far == pytest.approx(1 - 2 / 199, rel=1e-5)
    assert impedance_error(torch.tensor([-2.0, 0.0]), wall).item() > far  # active
    assert impedance_error(torch.tensor([198.0, 50.0]), wall).item() > 0
    assert impedance_error(torch.tensor([1.0, 0.0]), torch.tensor([math.nan])).isfinite()


def test_energy_that_is_not_conserved_costs_in_each_band() -> None:
    properties = {
        "absorption": torch.tensor([0.5] * 7 + [0.9]).view(1, 1, 1, 1, 8),
        "reflection": torch.full((1, 1, 1, 1, 1), 0.3),
        "impedance": torch.tensor([1.0, 2.0]).view(1, 1, 1, 1, 2),
    }
    assert physical_loss(properties).item() == pytest.approx(0.2 / 8)
    properties["reflection"] = torch.full((1, 1, 1, 1, 1), 0.1)
    assert physical_loss(properties).item() == pytest.approx(0, abs=1e-7)
    properties["impedance"] = torch.tensor([-0.5, 2.0]).view(1, 1, 1, 1, 2)
    assert physical_loss(properties).item() == pytest.approx(0.5)


def test_the_quantile_is_an_order_statistic() -> None:
    values = torch.arange(100.0).flip(0)
    assert quantile(values, 0.98).item() == 97
    assert quantile(values[:0], 0.98).item() == math.inf


def test_reverberation_is_compared_by_ratio_where_it_is_known() -> None:
    truth = torch.tensor([[1.0, 0.5, math.nan, 0.0]])
    estimate = torch.tensor([[1.1, 0.55, 9.0, 9.0]])
    assert rt60_loss(estimate, truth).item() == pytest.approx(math.log(1.1), rel=1e-5)
    assert rt60_loss(estimate, torch.full((1, 4), math.nan)).item() == 0


class TestAgainstARecording:
    @pytest.fixture
    def loss(self) -> AcousticLoss:
        return AcousticLoss()

    @pytest.fixture
    def sound(self) -> Tensor:
        """Noise after a fifth of silence."""
        noise = 0.1 * torch.randn(B, 2, 19_200, generator=torch.Generator().manual_seed(3))
        noise[..., :3840] = 0
        return noise

    def test_terms_carry_the_weights_of_the_method(self, loss: AcousticLoss, sound: Tensor, batch: Batch) -> None:
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        volume, area = torch.tensor([60.0, 90.0]), torch.tensor([94.0, 126.0])
        terms = loss(2 * sound, sound, properties, torch.ones(B, S, H, W), torch.ones(B, 8), volume, area)
        assert terms["rendering"].item() == pytest.approx(1, rel=1e-5)  # as large as the recording itself
        assert terms["perceptual"].item() == pytest.approx(0.5 * 20 * math.log10(2) * 0.8, rel=0.1)
        assert terms["physical"].item() == pytest.approx(0, abs=1e-6)
        assert terms["rt60"].item() > 0
        assert all(value.isfinite() for value in terms.values())

    def test_the_same_sound_costs_nothing(self, loss: AcousticLoss, sound: Tensor, batch: Batch) -> None:
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        assert sum(loss(sound, sound, properties).values()).item() == pytest.approx(0, abs=1e-6)

    def test_noise_of_the_recorder_is_no_reverberation(self, loss: AcousticLoss, sound: Tensor, batch: Batch) -> None:
        """A recording with noise in its pauses costs little against the clean sound, and rendering what rings on there
        costs more."""
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        recorded = sound + 3e-4 * torch.randn(sound.shape, generator=torch.Generator().manual_seed(4))
        ringing = sound + 3e-2 * torch.randn(sound.shape, generator=torch.Generator().manual_seed(5))
        clean = loss(sound, recorded, properties)["perceptual"].item()
        assert clean < 0.5
        assert loss(ringing, recorded, properties)["perceptual"].item() > 2 * clean

    def test_pixels_count_for_reverberation_by_the_area_that_they_show(
        self, loss: AcousticLoss, sound: Tensor, batch: Batch
    ) -> None:
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        properties["absorption"] = torch.full((B, S, H, W, 8), 0.9)
        properties["absorption"][:, 0] = 0.2
        weights = torch.zeros(B, S, H, W)
        weights[:, 0] = 2.0
        volume, area = torch.full((B,), 60.0), torch.full((B,), 94.0)
        rt60 = reverberation_time(torch.full((B, 8), 0.2), volume, area, "eyring", loss.air)
        terms = loss.physics(properties, rt60, volume, area, weights)
        assert set(terms) == {"physical", "rt60"}
        assert terms["rt60"].item() == pytest.approx(0, abs=1e-6)
        assert loss.physics(properties, rt60, volume, area)["rt60"].item() > 0.1

    def test_confidence_cannot_be_lowered_for_free(self, loss: AcousticLoss, sound: Tensor, batch: Batch) -> None:
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)

        def cost(rendered: Tensor, confidence: float) -> float:
            maps = torch.full((B, S, H, W), confidence)
            return loss(rendered, sound, properties, maps)["rendering_conf"].item()

        assert cost(sound, 1.0) < cost(sound, 0.5) < cost(sound, 1e-3)  # nothing is wrong: be sure
        assert cost(2 * sound, 0.2) < cost(2 * sound, 0.9)  # much is wrong: do not be sure
        assert cost(2 * sound, 0.2) < cost(2 * sound, 1e-3)  # nor give up

    @pytest.mark.parametrize("samples", [1, 100, 3000])
    def test_silence_and_short_clips_are_finite(self, loss: AcousticLoss, batch: Batch, samples: int) -> None:
        properties = perfect(batch)["acoustic_properties"]
        assert isinstance(properties, dict)
        rendered = torch.zeros(B, 2, samples, requires_grad=True)
        total = sum(loss(rendered, torch.zeros(B, 2, samples), properties).values(), torch.zeros(()))
        total.backward()
        assert total.isfinite()
        assert rendered.grad is not None
        assert rendered.grad.isfinite().all()
