"""What the audio renderer lets a camera hear, and what can be learnt from it."""

import math
from itertools import pairwise

import numpy as np
import pyroomacoustics
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import butter, sosfiltfilt
from torch import Tensor

from export.vggt_audio.acoustics import SPEED_OF_SOUND, reverberation_time
from export.vggt_audio.loss import AcousticLoss
from export.vggt_audio.renderer import HEAD_RADIUS_M, Renderer, band_weights, lattice, trace, wall_absorption

RATE = 48_000
DIMS = torch.tensor([6.13, 4.87, 3.07])
SOURCE = torch.tensor([1.53, 2.11, 1.27])
EAR = torch.tensor([4.21, 3.04, 1.61])
SILENT_AIR = torch.zeros(8)


def camera(position: Tensor, forward: Tensor) -> Tensor:
    """[1, 4, 4]: level, looking along `forward`."""
    down = torch.tensor([0.0, 0.0, -1.0])
    right = torch.linalg.cross(down, forward)
    pose = torch.eye(4)[None]
    pose[0, :3] = torch.stack([right, down, forward, position], dim=1)
    return pose


def anechoic() -> Tensor:
    return torch.ones(6, 8)


def delay_s(response: NDArray[np.float64]) -> float:
    """Of a band-limited impulse, by the slope of its phase from 500 Hz to 8 kHz."""
    spectrum = np.fft.rfft(response)
    hertz = np.fft.rfftfreq(len(response), 1 / RATE)
    inside = (hertz > 500) & (hertz < 8000)
    return float(-np.polyfit(hertz[inside], np.unwrap(np.angle(spectrum))[inside], 1)[0] / (2 * math.pi))


def decay_s(response: NDArray[np.float64]) -> float:
    """T30 by Schroeder's backward integral."""
    energy = np.cumsum(response[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    part = np.flatnonzero((level < -5) & (level > -35))
    return float(-60 / np.polyfit(part / RATE, level[part], 1)[0])


def octave(response: NDArray[np.float64], hz: float) -> NDArray[np.float64]:
    edges = [hz / math.sqrt(2), hz * math.sqrt(2)]
    filtered: NDArray[np.float64] = sosfiltfilt(butter(4, edges, "bandpass", fs=RATE, output="sos"), response)
    return filtered


@pytest.fixture(scope="module")
def omni() -> Renderer:
    return Renderer(RATE, head_radius=0.0)


@pytest.fixture(scope="module")
def binaural() -> Renderer:
    return Renderer(RATE, seconds=0.1)


def hear(renderer: Renderer, alpha: float, position: Tensor = EAR) -> NDArray[np.float64]:
    pose = camera(position, torch.tensor([0.0, 1.0, 0.0]))
    return renderer.response(DIMS, torch.full((6, 8), alpha), SOURCE, pose)[0, 0].double().numpy()


def test_bands_sum_to_one_everywhere() -> None:
    weights = band_weights(torch.fft.rfftfreq(4096, 1 / RATE))
    assert torch.allclose(weights.sum(dim=0), torch.ones(2049), atol=1e-6)
    centres = band_weights(125 * 2.0 ** torch.arange(8))
    assert torch.allclose(centres, torch.eye(8), atol=1e-6)


def test_paths_are_the_direct_one_six_reflections_and_eighteen_of_second_order() -> None:
    assert len(lattice(0)) == 1
    assert len(lattice(1)) == 7
    assert len(lattice(2)) == 25
    assert lattice(2)[0] == [(0, 0)] * 3


def test_arrival_times_and_amplitudes_are_those_of_pyroomacoustics() -> None:
    walls = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    names = ("west", "east", "south", "north", "floor", "ceiling")
    materials = {name: pyroomacoustics.Material(alpha) for name, alpha in zip(names, walls, strict=True)}
    room = pyroomacoustics.ShoeBox(DIMS.double().numpy(), fs=RATE, materials=materials, max_order=2)
    room.add_source(SOURCE.double().numpy())
    room.add_microphone(EAR.double().numpy())
    room.image_source_model()
    images = room.sources[0]
    distance = np.linalg.norm(images.images - EAR.double().numpy()[:, None], axis=0)
    theirs = np.argsort(distance)

    paths = trace(DIMS, torch.tensor(walls)[:, None].expand(6, 8), SOURCE, EAR[None], SILENT_AIR)
    ours = paths.distance[0].argsort()
    assert paths.distance[0, ours].numpy() == pytest.approx(distance[theirs], rel=1e-6)
    assert paths.gain[0, ours, 3].numpy() == pytest.approx(images.damping[0, theirs], rel=1e-5)


def test_the_first_sound_comes_after_its_distance_to_a_hundredth_of_a_sample(omni: Renderer) -> None:
    for offset in (0.0, 0.0013, 0.0021, 0.0047):
        position = EAR + torch.tensor([offset, 0.0, 0.0])
        response = omni.early(DIMS, anechoic(), SOURCE, camera(position, torch.tensor([0.0, 1.0, 0.0])))
        distance = (position - SOURCE).norm().item()
        first = response[0, 0].double().numpy()
        assert delay_s(first) * RATE == pytest.approx(distance / SPEED_OF_SOUND * RATE, abs=0.01)
        assert np.abs(np.fft.rfft(first))[1000] == pytest.approx(1 / distance, rel=1e-2)


def test_more_bare_walls_are_louder(omni: Renderer) -> None:
    energy = [float((hear(omni, alpha) ** 2).sum()) for alpha in (0.05, 0.2, 0.5, 1.0)]
    assert energy == sorted(energy, reverse=True)
    assert energy[0] > 3 * energy[-1]


@pytest.mark.parametrize("alpha", [0.15, 0.4])
def test_sound_decays_with_the_reverberation_time_of_each_band(omni: Renderer, alpha: float) -> None:
    sides = DIMS.tolist()
    area = 2 * (sides[0] * sides[1] + sides[1] * sides[2] + sides[0] * sides[2])
    absorption = torch.full((8,), alpha)
    expected = reverberation_time(absorption, DIMS.prod(), torch.tensor(area), "eyring", omni.air)
    response = hear(omni, alpha)
    for band in (3, 4, 5, 6):
        measured = decay_s(octave(response, 125 * 2**band))
        assert measured == pytest.approx(expected[band].item(), rel=0.1)


def test_a_reverberation_time_that_is_known_is_kept(omni: Renderer) -> None:
    tail = omni.tail(DIMS, torch.full((6, 8), 0.5), torch.full((8,), 0.8))[0].double().numpy()
    assert decay_s(octave(tail, 1000)) == pytest.approx(0.8, rel=0.05)


def test_energy_over_time_is_that_of_all_image_sources() -> None:
    """The tail takes over where the paths end. The mean of several places; above 1 kHz, for pulses of one sign pile up
    below, which real walls do not let them."""
    renderer, chance = Renderer(RATE, seconds=0.3, head_radius=0.0), np.random.default_rng(0)
    renderer.air.zero_()
    high = butter(4, 1000, "high", fs=RATE, output="sos")
    edges = [int(t * RATE) for t in (0.0, 0.02, 0.05, 0.1)]
    ours, theirs = np.zeros(3), np.zeros(3)
    for _ in range(6):
        source, ear = chance.uniform(0.5, 2.5, (2, 3))
        room = pyroomacoustics.ShoeBox(
            DIMS.double().numpy(), fs=RATE, materials=pyroomacoustics.Material(0.2), max_order=18
        )
        room.add_source(source)
        room.add_microphone(ear)
        room.compute_rir()
        reference = room.rir[0][0][pyroomacoustics.constants.get("frac_delay_length") // 2 :]
        pose = camera(torch.tensor(ear, dtype=torch.float32), torch.tensor([0.0, 1.0, 0.0]))
        where = torch.tensor(source, dtype=torch.float32)
        response = renderer.response(DIMS, torch.full((6, 8), 0.2), where, pose)[0, 0].double().numpy()
        for total, sound in ((ours, response), (theirs, reference)):
            filtered = sosfiltfilt(high, sound)
            total += [(filtered[a:b] ** 2).sum() for a, b in pairwise(edges)]
    assert 10 * np.log10(ours / theirs) == pytest.approx(np.zeros(3), abs=0.7)


class TestEars:
    @pytest.mark.parametrize("degrees", [-75, -30, 0, 30, 60, 89])
    def test_interaural_delay_is_woodworths(self, binaural: Renderer, degrees: float) -> None:
        angle = math.radians(degrees)
        place = EAR + 2.5 * torch.tensor([-math.cos(angle), -math.sin(angle), 0.0])
        pose = camera(EAR, torch.tensor([-1.0, 0.0, 0.0]))  # its left is at -y
        left, right = binaural.early(DIMS, anechoic(), place, pose)[0].double().numpy()
        woodworth = HEAD_RADIUS_M / SPEED_OF_SOUND * (abs(angle) + math.sin(abs(angle)))
        assert delay_s(right) - delay_s(left) == pytest.approx(math.copysign(woodworth, angle), abs=1e-6)

    def test_the_nearer_ear_is_louder_and_more_so_at_high_frequencies(self, binaural: Renderer) -> None:
        place = EAR - torch.tensor([0.0, 1.5, 0.0])
        left, right = (
            binaural.early(DIMS, anechoic(), place, camera(EAR, torch.tensor([-1.0, 0.0, 0.0])))[0].double().numpy()
        )
        level = [
            10 * math.log10((octave(left, hz) ** 2).sum() / (octave(right, hz) ** 2).sum()) for hz in (250, 1000, 4000)
        ]
        assert 0 < level[0] < level[1] < level[2]
        assert 8 < level[2] < 25

    def test_a_mirrored_scene_exchanges_the_ears(self, binaural: Renderer) -> None:
        walls = torch.rand(6, 8, generator=torch.Generator().manual_seed(0))
        forward, mirror = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([-1.0, 1.0, 1.0])
        offset = torch.tensor([1.0, 0.0, 0.0]) * DIMS
        heard = binaural.early(DIMS, walls, SOURCE, camera(EAR, forward))
        swapped = walls[[1, 0, 2, 3, 4, 5]]
        mirrored = binaural.early(DIMS, swapped, offset + mirror * SOURCE, camera(offset + mirror * EAR, forward))
        assert torch.allclose(heard, mirrored.flip(1), atol=1e-3)


class TestLearning:
    def test_gradients_say_that_absorption_makes_quieter(self, omni: Renderer) -> None:
        absorption = torch.full((6, 8), 0.3, requires_grad=True)
        pose = camera(EAR, torch.tensor([0.0, 1.0, 0.0]))
        omni.response(DIMS, absorption, SOURCE, pose).square().sum().backward()
        assert absorption.grad is not None
        assert (absorption.grad < 0).all()

    @pytest.mark.parametrize("alpha", [0.0, 1e-7, 1.0])
    def test_gradients_are_finite_for_perfect_walls(self, binaural: Renderer, alpha: float) -> None:
        absorption = torch.full((6, 8), alpha, requires_grad=True)
        pose = camera(SOURCE, torch.tensor([0.0, 1.0, 0.0]))  # in the source itself
        heard = binaural.response(DIMS, absorption, SOURCE, pose)
        heard.square().sum().backward()
        assert heard.isfinite().all()
        assert absorption.grad is not None
        assert absorption.grad.isfinite().all()

    def test_absorption_is_found_again_from_sound(self) -> None:
        renderer = Renderer(16_000, seconds=0.1)
        truth = torch.tensor([0.1, 0.6, 0.2, 0.3, 0.5, 0.15])[:, None].expand(6, 8)
        pose = torch.cat([camera(EAR, torch.tensor([0.0, 1.0, 0.0])), camera(EAR - 0.7, torch.tensor([1.0, 0.0, 0.0]))])
        target = renderer.response(DIMS, truth, SOURCE, pose)
        raw = torch.zeros(6, 1, requires_grad=True)
        optimizer = torch.optim.LBFGS([raw], max_iter=15)

        def error() -> Tensor:
            optimizer.zero_grad()
            heard = renderer.response(DIMS, raw.sigmoid().expand(6, 8), SOURCE, pose)
            loss = (heard - target).square().sum()
            loss.backward()
            return loss

        optimizer.step(error)  # type: ignore[no-untyped-call]
        assert torch.allclose(raw.sigmoid(), truth[:, :1], atol=0.01)

    def test_walls_take_the_absorption_that_cameras_saw_on_them(self) -> None:
        points = torch.tensor([[0.02, 1, 1], [0, 2, 1], [3, 0.01, 1], [3, 2, 0], [3, 2, 1.5]]).view(1, 1, 5, 3)
        maps = torch.tensor([0.2, 0.6, 0.3, 0.4, 0.9]).view(1, 1, 5, 1).expand(1, 1, 5, 8).clone().requires_grad_()
        weights = torch.tensor([3.0, 1.0, 1.0, 1.0, 1.0]).view(1, 1, 5)
        walls = wall_absorption(maps, points, weights, DIMS)
        unseen = (0.3 * 4 + 0.3 + 0.4) / 6
        assert walls[:, 0].tolist() == pytest.approx([0.3, unseen, 0.3, unseen, 0.4, unseen])
        walls.sum().backward()
        assert maps.grad is not None
        assert maps.grad[0, 0, 4].abs().max() == 0  # furniture in the middle of the room
        assert wall_absorption(maps, points + 1, 0 * weights, DIMS).isfinite().all()


def test_a_recording_teaches_what_the_maps_should_say() -> None:
    """Maps -> walls -> sound -> loss, and back: absorption of the walls that cameras saw comes nearer to the truth."""
    renderer, loss = Renderer(RATE, seconds=0.1), AcousticLoss(RATE)
    chance = torch.Generator().manual_seed(1)
    points = torch.rand(1, 1, 12, 12, 3, generator=chance) * DIMS
    points[..., 2] = torch.where(torch.rand(1, 1, 12, 12, generator=chance) < 0.5, 0.0, DIMS[2])  # floor and ceiling
    weights = torch.ones(1, 1, 12, 12)
    pose, signal = camera(EAR, torch.tensor([0.0, 1.0, 0.0])), torch.randn(9600, generator=chance)

    def heard(alpha: Tensor) -> Tensor:
        walls = wall_absorption(alpha.expand(1, 1, 12, 12, 8), points, weights, DIMS)
        return renderer(signal, DIMS, walls, SOURCE, pose) / 10

    target = heard(torch.tensor(0.6))
    raw = torch.tensor(-2.0, requires_grad=True)
    for _ in range(2):
        maps = {"absorption": raw.sigmoid().expand(1, 1, 12, 12, 8)}
        maps |= {"reflection": torch.zeros(1, 1, 12, 12, 1), "impedance": torch.ones(1, 1, 12, 12, 2)}
        total = sum(loss(heard(raw.sigmoid()), target, maps, weights).values(), torch.zeros(()))
        (gradient,) = torch.autograd.grad(total, raw)
        assert gradient < 0  # it should absorb more
        raw = (raw + 1).detach().requires_grad_()


def test_a_signal_is_heard_from_its_start_and_cut_to_its_length(binaural: Renderer) -> None:
    signal = torch.zeros(6000)
    signal[100] = 1.0
    pose = camera(EAR, torch.tensor([0.0, 1.0, 0.0])).repeat(3, 1, 1)
    walls = torch.full((6, 8), 0.3)
    heard = binaural(signal, DIMS, walls, SOURCE, pose)
    assert heard.shape == (3, 2, 6000)
    response = binaural.response(DIMS, walls, SOURCE, pose)
    assert torch.allclose(heard[..., 100:4900], response[..., :4800], atol=1e-5)
    assert heard[..., :100].abs().max() < 1e-5
