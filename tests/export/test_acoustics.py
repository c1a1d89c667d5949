"""Reverberation times against the values of their formulas, computed apart for c = 343 m/s."""

import math

import pytest
import torch

from export.vggt_audio.acoustics import AIR_PER_M, compute_rt60, mean_absorption, reverberation_time


@pytest.mark.parametrize(
    ("volume", "area", "alpha", "sabine", "eyring"),
    [
        (100, 130, 0.05, 2.4786742, 2.4161776),
        (100, 130, 0.1, 1.2393371, 1.1762823),
        (100, 130, 0.2, 0.6196686, 0.5553990),
    ],
)
def test_sabine_and_eyring(volume: float, area: float, alpha: float, sabine: float, eyring: float) -> None:
    maps = {"absorption": torch.full((1, 2, 4, 4, 8), alpha)}
    assert torch.allclose(compute_rt60(maps, volume, area), torch.full((8,), sabine))
    assert torch.allclose(compute_rt60(maps, volume, area, "eyring"), torch.full((8,), eyring))


def test_air_rules_the_highest_bands() -> None:
    maps = {"absorption": torch.full((1, 1, 1, 1, 8), 0.227)}
    dry, air = (compute_rt60(maps, 90, 126, "eyring", a) for a in (None, torch.tensor(AIR_PER_M)))
    assert dry[7].item() == pytest.approx(0.447, abs=1e-3)
    assert air[7].item() == pytest.approx(0.231, abs=1e-3)
    assert air[0].item() == pytest.approx(dry[0].item(), rel=2e-3)


def test_weights_decide_what_the_mean_is_of() -> None:
    absorption = torch.tensor([0.1, 0.5]).view(1, 1, 1, 2, 1).expand(1, 1, 1, 2, 8)
    weights = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    weighted = compute_rt60({"absorption": absorption}, 100, 130, weights=weights)
    assert torch.allclose(weighted, compute_rt60({"absorption": torch.full((1, 8), 0.2)}, 100, 130))
    assert torch.allclose(mean_absorption(absorption[0, 0, 0], 0 * weights[0, 0, 0]), torch.full((8,), 0.3))


@pytest.mark.parametrize("method", ["sabine", "eyring"])
def test_more_absorption_shortens_it_and_extremes_stay_finite(method: str) -> None:
    alpha = torch.tensor([0.0, 1e-9, 0.1, 0.5, 0.9, 1.0], requires_grad=True)
    time = reverberation_time(alpha, torch.tensor(100.0), torch.tensor(130.0), method)  # type: ignore[arg-type]
    time.sum().backward()
    assert time.isfinite().all()
    assert (time.diff()[1:] < 0).all()
    assert alpha.grad is not None
    assert alpha.grad.isfinite().all()
    assert (alpha.grad[2:5] < 0).all()


@pytest.mark.parametrize(("volume", "area"), [(0, 100), (100, -1), (math.nan, 100)])
def test_a_room_without_volume_or_area_is_refused(volume: float, area: float) -> None:
    with pytest.raises(ValueError, match="volume and an area"):
        compute_rt60({"absorption": torch.ones(1, 8)}, volume, area)
