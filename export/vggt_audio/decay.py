"""How sound decays in a furnished room: an energy Monte Carlo, the ground truth of RT60 per octave band.

Particles fly straight, lose 1 - alpha at each surface and go on specularly or, with probability s, by Lambert's law
(Kuttruff, Room Acoustics, ch. 5). Air takes its share after ISO 9613-1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from export.vggt_audio.acoustics import AIR_PER_M, SPEED_OF_SOUND
from export.vggt_audio.geometry import Array, Geometry

Bands = NDArray[np.float64]

STEP_S = 0.005
LIMIT_S = 12.0


def rt60(
    geometry: Geometry,
    absorption: Bands,
    scattering: Bands,
    particles: int,
    air_per_m: Sequence[float] = AIR_PER_M,
    seed: int = 0,
) -> Bands:
    """[8] seconds: T30, from -5 to -35 dB of the backward-integrated decay (ISO 3382-1), per octave band.

    absorption [finishes, 8] and scattering [finishes]. NaN in a band that does not decay so far within LIMIT_S.
    """
    curve = energy_decay(geometry, absorption, scattering, particles, np.asarray(air_per_m), seed)
    remaining = curve[::-1].cumsum(axis=0)[::-1]
    with np.errstate(divide="ignore"):
        level = 10 * np.log10(remaining / remaining[0])
    times = np.arange(len(curve)) * STEP_S
    result = np.empty(level.shape[1])
    for band, decay in enumerate(level.T):
        part = np.flatnonzero((decay <= -5) & (decay >= -35))
        heard_out = curve[-1, band] < curve[0, band] * 10**-3.5
        result[band] = -60 / np.polyfit(times[part], decay[part], 1)[0] if heard_out else np.nan
    return result


def energy_decay(
    geometry: Geometry, absorption: Bands, scattering: Bands, particles: int, air_per_m: Bands, seed: int
) -> Bands:
    """[steps, 8]: the energy in the room at every STEP_S, until every band has lost 50 dB."""
    chance = np.random.default_rng(seed)
    position = _start(geometry, particles, chance)
    direction = _sphere(particles, chance)
    energy = np.ones((particles, 8)) / particles
    clock = np.zeros(particles)  # when each particle meets its next surface
    curve = np.zeros((int(LIMIT_S / STEP_S), 8))
    alive = np.arange(particles)
    while alive.size:
        hits = geometry.intersect(position[alive], direction[alive])
        end = clock[alive] + hits.distance / SPEED_OF_SOUND
        # A flight is seen at each step that it spans; what it carries falls with the air it crosses.
        first, last = np.ceil(clock[alive] / STEP_S).astype(int), np.ceil(end / STEP_S).astype(int)
        for ahead in range(int((last - first).max(initial=0))):
            rows = np.flatnonzero(first + ahead < last)
            rows = rows[first[rows] + ahead < len(curve)]
            at = first[rows] + ahead
            air = np.exp(-air_per_m * SPEED_OF_SOUND * (at * STEP_S - clock[alive[rows]])[:, None])
            cells = at[:, None] * 8 + np.arange(8)
            curve += np.bincount(cells.ravel(), (energy[alive[rows]] * air).ravel(), curve.size).reshape(curve.shape)
        energy[alive] *= np.exp(-air_per_m * hits.distance[:, None]) * (1 - absorption[hits.finish])
        position[alive] += (hits.distance[:, None] - 1e-4) * direction[alive]
        direction[alive] = _reflect(direction[alive], hits.normal, scattering[hits.finish], chance)
        clock[alive] = end
        # Few particles carry what is left of a long decay: those far below the mean still count together.
        alive = alive[(energy[alive].max(axis=1) * particles > 1e-7) & (end < LIMIT_S)]
        complete = int(clock[alive].min(initial=LIMIT_S) / STEP_S)  # no particle can add to what lies before
        if (curve[max(complete - 1, 0)] < curve[0] * 1e-5).all():
            break
    return curve[: int(np.flatnonzero((curve > curve[0] * 1e-5).any(axis=1))[-1]) + 1]


def _start(geometry: Geometry, particles: int, chance: np.random.Generator) -> Array:
    """[N, 3] points spread evenly through the air."""
    dims, points = np.array(geometry.dims), np.empty((0, 3), np.float32)
    while len(points) < particles:
        tries = (chance.uniform(0, 1, (2 * particles, 3)) * dims).astype(np.float32)
        points = np.concatenate([points, tries[geometry.contains(tries, 0.02)]])
    return points[:particles]


def _sphere(count: int, chance: np.random.Generator) -> Array:
    vectors = chance.standard_normal((count, 3), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _reflect(direction: Array, normal: Array, scattering: NDArray[np.float64], chance: np.random.Generator) -> Array:
    mirrored = direction - 2 * (direction * normal).sum(axis=1, keepdims=True) * normal
    lambert = _sphere(len(direction), chance) + normal
    lambert /= np.maximum(np.linalg.norm(lambert, axis=1, keepdims=True), 1e-6)
    return np.where(chance.random(len(direction))[:, None] < scattering[:, None], lambert, mirrored).astype(np.float32)
