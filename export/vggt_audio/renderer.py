"""Sound at a camera in a box room, differentiable: what a source would sound like there, given what the walls absorb.

Early sound is exact: the direct path and all reflections of first and second order as image sources (Allen and
Berkley, 1979), each with its fractional delay, its loss at every wall and in air, and its place around a spherical head
(Woodworth and Schlosberg, 1954; Brown and Duda, 1998). Late sound is a fixed noise that decays with the room's
reverberation time.

The room's frame has one corner at the origin and its axes along the edges, z up, in metres. A camera looks along its z
axis, with x to its right and y down; its left and right ear lie at -x and +x. Sound pressure is that of a source which
would be heard at 1 in 1 m without a room.
"""

import math
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.vggt_audio.acoustics import AIR_PER_M, SPEED_OF_SOUND, mean_absorption, reverberation_time

ORDER = 2
"""Reflections that are followed one by one; the tail stands for those of a higher order."""
NEAREST_M = 0.1
PAD = 512
"""Samples that a filter rings before and after its path."""
HEAD_RADIUS_M = 0.0875
WALLS = ("-x", "+x", "-y", "+y", "floor", "ceiling")
LOWEST_BAND_HZ = 125.0


class Paths(NamedTuple):
    """How early sound reaches the cameras: I paths, the direct one first."""

    distance: Tensor  # [S, I] metres
    direction: Tensor  # [S, I, 3] where it comes from, unit
    gain: Tensor  # [S, I, F] of amplitude: walls and air, without 1 / distance


class Renderer(nn.Module):
    """signal [N], room, source and cameras -> what is heard at each camera [S, 2, N], left ear first.

    With `head_radius` 0 both ears are one omnidirectional microphone. Bands are octaves from 125 Hz.
    """

    air: Tensor
    noise: Tensor

    def __init__(
        self, sample_rate: int = 48_000, seconds: float = 1.0, head_radius: float = HEAD_RADIUS_M, seed: int = 0
    ) -> None:
        super().__init__()
        self.sample_rate, self.head_radius = sample_rate, head_radius
        self.length = round(seconds * sample_rate)
        self.register_buffer("air", torch.tensor(AIR_PER_M), persistent=False)
        self.register_buffer("noise", self._noise(seed), persistent=False)

    def forward(
        self, signal: Tensor, dims: Tensor, absorption: Tensor, source: Tensor, world_from_camera: Tensor
    ) -> Tensor:
        """[S, 2, N]: aligned with the signal and cut to its length.

        Args:
            signal: of the source, [N], or [S, 1, N] if cameras heard it at different times.
            dims: [3] the room's size in metres.
            absorption: [6, 8] of its walls in the order of `WALLS`, in [0, 1].
            source: [3] inside the room.
            world_from_camera: [S, 4, 4] poses in the room's frame.
        """
        response = self.response(dims, absorption, source, world_from_camera)
        size = signal.shape[-1] + self.length
        spectrum = torch.fft.rfft(signal, size) * torch.fft.rfft(response, size)
        return torch.fft.irfft(spectrum, size)[..., : signal.shape[-1]]

    def response(
        self,
        dims: Tensor,
        absorption: Tensor,
        source: Tensor,
        world_from_camera: Tensor,
        rt60: Tensor | None = None,
    ) -> Tensor:
        """Binaural impulse responses [S, 2, L]; rt60 [8] in seconds, by Eyring's formula if left out."""
        early = self.early(dims, absorption, source, world_from_camera)
        return early + self.tail(dims, absorption, rt60)

    def early(self, dims: Tensor, absorption: Tensor, source: Tensor, world_from_camera: Tensor) -> Tensor:
        """[S, 2, L] of the direct sound and the reflections that are followed one by one."""
        paths = trace(dims, absorption, source, world_from_camera[:, :3, 3], self.air)
        right = world_from_camera[:, :3, 0]
        facing = torch.einsum("sic,sc->si", paths.direction, right)
        facing = torch.stack([-facing, facing], dim=1).clamp(-1 + 1e-6, 1 - 1e-6)  # [S, 2, I]: cosine to each ear
        round_head = torch.where(facing > 0, -facing, torch.asin(-facing))
        delay = (paths.distance[:, None] + self.head_radius * round_head) / SPEED_OF_SOUND

        # Long enough that what a filter puts before time 0 comes round to an end that is cut off.
        last = math.ceil(float(delay.detach().max()) * self.sample_rate)
        size = 1 << (last + 2 * PAD).bit_length()
        hertz = torch.fft.rfftfreq(size, 1 / self.sample_rate, device=delay.device)
        passed = (10 * (1 - 2 * hertz / self.sample_rate)).clamp(0, 1)  # fades out below half the sample rate
        at_walls = (paths.gain / paths.distance[..., None].clamp(min=NEAREST_M)) @ band_weights(hertz)  # [S, I, K]
        spectrum = torch.zeros(*delay.shape[:2], len(hertz), dtype=torch.complex64, device=delay.device)
        for path in range(delay.shape[-1]):
            level = at_walls[:, None, path] * self._shadow(facing[..., path, None], hertz) * passed
            # Whole turns are left out before the angle is, or float32 would lose what is left of it.
            turns = torch.remainder(hertz.double() * delay[..., path, None].double(), 1.0).float()
            spectrum = spectrum + torch.polar(level, -2 * torch.pi * turns)
        response = torch.fft.irfft(spectrum, size)[..., : min(size - PAD, self.length)]
        return F.pad(response, (0, self.length - response.shape[-1]))

    def tail(self, dims: Tensor, absorption: Tensor, rt60: Tensor | None = None) -> Tensor:
        """[2, L] of all higher orders: the same noise in every place, shaped by the room alone.

        All image sources together bring an energy of 4 pi c / V a second, less what was absorbed. Hits on walls come
        like raindrops: by time t their number is Poisson's with a mean of c t S / 4 V (Kuttruff, Room Acoustics,
        sections 4.2 and 5.2). So the tail grows as the share with more than `ORDER` hits does, and decays with `rt60`
        [8], or after Eyring.
        """
        volume, areas = dims.prod(), wall_areas(dims)
        if rt60 is None:
            rt60 = reverberation_time(mean_absorption(absorption, areas), volume, areas.sum(), "eyring", self.air)
        time = torch.arange(self.length, device=dims.device) / self.sample_rate
        hits = SPEED_OF_SOUND * areas.sum() / (4 * volume) * time
        few = sum((hits**k / math.factorial(k) for k in range(ORDER + 1)), torch.zeros_like(hits)) * torch.exp(-hits)
        density = 4 * math.pi * SPEED_OF_SOUND / (volume * self.sample_rate) * (1 - few).clamp(min=0)
        decay = torch.exp(-math.log(1e3) * time / rt60[:, None])  # of amplitude: 60 dB in one RT60
        return ((density.sqrt() * decay)[:, None] * self.noise).sum(dim=0)

    def _shadow(self, facing: Tensor, hertz: Tensor) -> Tensor:
        """How the head weighs a sound by its cosine to an ear: the magnitude of Brown and Duda's filter. Its phase is
        left out, for Woodworth's delay is applied apart."""
        towards = 1.05 + 0.95 * torch.cos(1.2 * torch.acos(facing))
        size = math.pi * self.head_radius / SPEED_OF_SOUND * hertz
        return ((1 + (towards * size).square()) / (1 + size.square())).sqrt()

    def _noise(self, seed: int) -> Tensor:
        """[8, 2, L]: white noise of unit variance, cut into bands that sum to it, heard from all sides through the
        head."""
        white = torch.randn(2, self.length, generator=torch.Generator().manual_seed(seed))
        hertz = torch.fft.rfftfreq(self.length, 1 / self.sample_rate)
        sides = torch.linspace(-1 + 1 / 64, 1 - 1 / 64, 64)[:, None]
        diffuse = self._shadow(sides, hertz).square().mean(dim=0).sqrt()
        filters = band_weights(hertz) * diffuse
        return torch.fft.irfft(torch.fft.rfft(white) * filters[:, None], self.length)


def trace(dims: Tensor, absorption: Tensor, source: Tensor, listeners: Tensor, air: Tensor) -> Paths:
    """Image sources up to second order of a source [3], as heard by listeners [S, 3] in a box [3]."""
    mirrored, shifted = torch.tensor(lattice(ORDER), device=dims.device).unbind(dim=-1)  # [I, 3] each
    images = (1 - 2 * mirrored) * source + 2 * shifted * dims
    hits = torch.stack([(shifted - mirrored).abs(), shifted.abs()], dim=-1).flatten(1)  # [I, 6] of each wall
    away = images - listeners[:, None]
    distance = away.norm(dim=-1)
    reflected = (1 - absorption).clamp(min=1e-9).log() / 2  # sqrt(1 - alpha) each
    gain = (hits.to(reflected) @ reflected) - air / 2 * distance[..., None]
    return Paths(distance, away / distance.clamp(min=1e-9)[..., None], gain.exp())


def lattice(order: int) -> list[list[tuple[int, int]]]:
    """Every image source with at most `order` hits, the direct path first: q and n of each axis [I, 3, 2].

    Its coordinate is (1 - 2 q) x + 2 n L; its sound has met the lower wall |n - q| times and the upper one |n| times.
    """
    axis = list(product((0, 1), range(-order, order + 1)))
    hits = {(q, n): abs(n - q) + abs(n) for q, n in axis}
    images = [list(image) for image in product(axis, repeat=3) if sum(hits[part] for part in image) <= order]
    return sorted(images, key=lambda image: sum(hits[part] for part in image))


def wall_absorption(absorption: Tensor, points: Tensor, weights: Tensor, dims: Tensor, near_m: float = 0.1) -> Tensor:
    """[6, F] mean absorption of each wall, from maps [..., F] and where their pixels lie [..., 3] in the room's frame.

    A pixel counts with its weight [...] for the wall that it lies within `near_m` of; a wall that no pixel shows gets
    the mean of all pixels that show one.
    """
    apart = torch.stack([points, dims - points], dim=-1).flatten(-2).flatten(0, -2).abs()  # [N, 6]
    distance, wall = apart.min(dim=-1)
    share = F.one_hot(wall, 6) * (weights.flatten() * (distance < near_m))[:, None]
    maps = absorption.flatten(0, -2)
    seen, total = share.T @ maps, share.sum(dim=0)[:, None]
    everywhere = seen.sum(dim=0) / total.sum().clamp(min=1e-9)
    return torch.where(total > 1e-6, seen / total.clamp(min=1e-6), everywhere)


def wall_areas(dims: Tensor) -> Tensor:
    """[6] square metres in the order of `WALLS`."""
    x, y, z = dims.unbind()
    return torch.stack([y * z, y * z, x * z, x * z, x * y, x * y])


def band_weights(hertz: Tensor) -> Tensor:
    """[8, K]: how much each octave band counts at each frequency: neighbours fade into one another and sum to 1."""
    octave = (hertz.clamp(min=1e-3) / LOWEST_BAND_HZ).log2().clamp(0, len(AIR_PER_M) - 1)
    apart = (octave - torch.arange(len(AIR_PER_M), device=hertz.device)[:, None]).abs().clamp(max=1)
    return (math.pi / 2 * apart).cos().square()
