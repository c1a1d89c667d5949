"""Reverberation time by following energy through a convex room: right where walls are smooth and formulas are not.

Particles fly straight at the speed of sound, lose the absorbed share at each wall, and go on specularly or, with the
wall's scattering coefficient as probability, by Lambert's law (Kuttruff, Room Acoustics, sections 4.5 and 9.7). Only
energy differs between bands, so all bands share one set of paths; air takes the same share of every path of one
length, so it is applied to the finished decay.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.acoustics.air import SPEED_OF_SOUND_M_S
from service.acoustics.decay import T30_DB, decay_time, level_db, schroeder
from service.acoustics.polyhedron import Polyhedron

Array = NDArray[np.float64]
Single = NDArray[np.float32]

PARTICLES = 20_000
MAX_PARTICLES = 100_000
MAX_DISTANCES = 36_000_000
"""From particles to planes: about a second's work. In a room that absorbs little a particle needs more flights and, as
it then meets every wall many times, fewer particles do."""

_MIN_PARTICLES = 2_000
_MAX_FLIGHTS = 4_000  # of a particle
_FINISHED = 1e-6  # of a band's energy: 25 dB below the lowest level that is read
_NEGLIGIBLE = 1e-9  # of a particle's energy in its loudest band
_SMALLEST = np.float32(1e-30)  # numbers near the end of float32's range are slow
_CHECK_EVERY = 8
_STEPS_PER_FLIGHT = 8
_STEP_LOSS = 0.5  # nepers that air may take in a step, which it does in the largest halls
_MAX_STEPS = 1 << 15
"""Of a decay: more than fit into its flights, but in a room so flat or narrow that some are very long."""
_MIXING_STEPS = 16
_BLOCK = 1 << 17  # distances that are computed at once: they stay in the processor's cache
_TOUCHING_M = np.float32(1e-6)
_AWAY = np.float32(1e-30)


@dataclass(frozen=True, eq=False)
class Decay:
    """How sound dies away after an impulse: Schroeder's integral, as of a measured impulse response."""

    step_s: float
    level_db: Array  # [bands, K] at multiples of step_s; 0 at the impulse, -inf when nothing is left
    late_time_s: Array  # [bands] reverberation time at the end of what was followed; NaN without decay

    def rt60(self) -> Array:
        """[bands] seconds: T30, from -5 to -35 dB; that of the end for bands too slow to be followed so far.

        NaN where neither walls nor air take anything.
        """
        times = decay_time(self.level_db, self.step_s, T30_DB)
        return np.where(np.isnan(times), self.late_time_s, times)


def trace(
    planes: ArrayLike,
    absorption: ArrayLike,
    scattering: ArrayLike,
    air_per_m: ArrayLike = 0.0,
    *,
    particles: int = PARTICLES,
    seed: int = 0,
) -> Decay:
    """Decay in the convex room that `planes` [P, 4] enclose: (n, d) with n . x + d >= 0 inside, one for each wall.

    absorption [P, bands] and scattering [P] in [0, 1], air_per_m [bands]. With the default of particles the standard
    deviation of T30 is below 1 %, and up to 2.5 % where one of several smooth walls absorbs most. Of planes that
    coincide the first counts. Raises ValueError for planes that enclose no room and for values out of range.
    """
    room = Polyhedron.enclosed(planes)
    alpha, scatter = np.asarray(absorption, np.float64), np.asarray(scattering, np.float64)
    if alpha.ndim != 2 or scatter.ndim != 1 or not len(alpha) == len(scatter) == len(room.planes):
        raise ValueError(f"absorption is [planes, bands], scattering [planes]: not {alpha.shape} and {scatter.shape}")
    for name, values in (("absorption", alpha), ("scattering", scatter)):
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} lies in 0 to 1")
    air = np.asarray(air_per_m, np.float64)
    if not ((air >= 0) & np.isfinite(air)).all():
        raise ValueError("the attenuation of air is finite and not negative")
    if not 1 <= particles <= MAX_PARTICLES:
        raise ValueError(f"1 to {MAX_PARTICLES} particles are followed, not {particles}")
    return _follow(_Walls(room, alpha, scatter), np.broadcast_to(air, alpha.shape[1]), particles, seed)


class _Walls:
    """The room in single precision, with its centre as the origin; arrays end in [particles]."""

    def __init__(self, room: Polyhedron, alpha: Array, scatter: Array) -> None:
        self._normals = room.planes[:, :3].astype(np.float32)
        self._offsets = (room.planes[:, :3] @ room.centre + room.planes[:, 3]).astype(np.float32)[:, None]
        self.kept = (1 - alpha).T.astype(np.float32)  # [bands, P]
        self.count = len(scatter)
        self._scatter = scatter.astype(np.float32)

    def flight(self, position: Single, direction: Single) -> tuple[Single, NDArray[np.intp]]:
        """From [3, N] along [3, N]: metres to the wall, and which one it is."""
        size = max(1, _BLOCK // self.count)
        blocks = [
            self._flight(position[:, first : first + size], direction[:, first : first + size])
            for first in range(0, position.shape[1], size)
        ]
        return np.concatenate([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])

    def _flight(self, position: Single, direction: Single) -> tuple[Single, NDArray[np.intp]]:
        # A plane that is flown away from comes out as very distant; one that is touched stays in front.
        closing = self._normals @ direction
        np.maximum(np.negative(closing, out=closing), _AWAY, out=closing)
        distances = self._normals @ position
        distances += self._offsets
        np.maximum(distances, _TOUCHING_M, out=distances)
        distances /= closing
        nearest, wall = distances[0].copy(), np.zeros(distances.shape[1], np.intp)
        for number, distance in enumerate(distances[1:], start=1):
            np.copyto(wall, number, where=distance < nearest)
            np.minimum(nearest, distance, out=nearest)
        return nearest, wall

    def reflect(self, direction: Single, wall: NDArray[np.intp], chance: np.random.Generator) -> None:
        """Turns `direction` [3, N] back into the room."""
        normal = self._normals.T[:, wall]
        direction -= 2 * (normal * direction).sum(axis=0) * normal
        scattered = np.flatnonzero(chance.random(len(wall), np.float32) < self._scatter[wall])
        # A point on the sphere that touches the wall from inside: directions by the cosine of their angle to the normal
        direction[:, scattered] = _unit(_sphere(len(scattered), chance) + normal[:, scattered])


def _follow(walls: _Walls, air: Array, particles: int, seed: int) -> Decay:
    chance = np.random.Generator(np.random.SFC64(seed))
    position, chord_m = _spread(walls, particles, chance)
    lost = 1 - walls.kept[:, walls.flight(position, _sphere(particles, chance))[1]].mean(axis=1, dtype=np.float64)
    fall = float((-np.log1p(-np.minimum(lost, 0.999999)) + air * chord_m).min())  # of the slowest band, in a flight
    flights = MAX_DISTANCES // walls.count
    wanted = int(flights * min(1.0, fall / -np.log(_FINISHED)))
    count = min(particles, max(wanted, _MIN_PARTICLES))
    position, direction = position[:, :count].copy(), _even_sphere(count, chance)

    path = np.zeros(count, np.float32)
    energy = np.ones((len(air), count), np.float32)
    step_m = min(chord_m / _STEPS_PER_FLIGHT, _STEP_LOSS / max(air.max(), 1e-9))
    losses = np.zeros((len(air), 0))  # [bands, K], by path
    finished = False
    for number in range(1, min(flights // count, _MAX_FLIGHTS) + 1):
        distance, wall = walls.flight(position, direction)
        path += distance
        position += distance * direction
        left = np.maximum(energy * walls.kept[:, wall], _SMALLEST)
        steps = np.minimum(path / np.float32(step_m), _MAX_STEPS).astype(np.intp)  # the last of them is all beyond
        losses = _add(losses, steps, energy - left)
        energy = left
        if number % _CHECK_EVERY == 0:
            under_way = [float(energy[band] @ np.exp(-np.float32(m) * path)) for band, m in enumerate(air)]
            finished = max(under_way) < _FINISHED * count
            if finished:
                break
            alive = energy.max(axis=0) > _NEGLIGIBLE
            if not alive.all():
                position, direction, energy = position[:, alive], direction[:, alive], energy[:, alive]
                path, wall = path[alive], wall[alive]
        walls.reflect(direction, wall, chance)
    # Where all is finished, what is under way counts as lost there: it is too little to matter.
    known = min(losses.shape[1] if finished else max(2, int(path.min() / step_m)), _MAX_STEPS)
    beyond = losses[:, known:].sum(axis=1) + (0 if finished else energy.sum(axis=1, dtype=np.float64))
    return _integrate(losses[:, :known], beyond, step_m, air)


def _integrate(losses: Array, beyond: Array, step_m: float, air: Array) -> Decay:
    """losses [bands, K] in steps of path, and what was lost beyond them [bands]; both without air."""
    count = losses.shape[1]
    beyond = np.where(beyond > _NEGLIGIBLE * losses.sum(axis=1), beyond, 0)
    free = np.concatenate([schroeder(losses) + beyond[:, None], beyond[:, None]], axis=1)
    half = count // 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.log(free[:, half] / free[:, -1]) / (step_m * (count - half)) + air  # of the later half, per metre
    falls = rate > 0
    late_time_s = np.where(falls & (beyond > 0), 6 * np.log(10) / SPEED_OF_SOUND_M_S, np.nan) / np.where(falls, rate, 1)
    energy = free * np.exp(-air[:, None] * step_m * np.arange(count + 1))
    tail = (energy[:, -1] / np.where(falls, rate, 1))[:, None]
    parts = step_m * (energy[:, :-1] + energy[:, 1:]) / 2
    levels = level_db(np.concatenate([schroeder(parts) + tail, tail], axis=1))
    levels[~falls & (beyond > 0)] = 0
    return Decay(step_m / SPEED_OF_SOUND_M_S, levels, late_time_s)


def _add(losses: Array, steps: NDArray[np.intp], lost: Single) -> Array:
    """losses [bands, K] grown as far as needed, with lost [bands, N] added at steps [N]."""
    first, end = int(steps.min()), int(steps.max()) + 1
    if end > losses.shape[1]:
        losses = np.concatenate([losses, np.zeros((len(losses), end))], axis=1)
    for band, values in zip(losses, lost, strict=True):
        band[first:end] += np.bincount(steps - first, values, end - first)
    return losses


def _spread(walls: _Walls, count: int, chance: np.random.Generator) -> tuple[Single, float]:
    """Points [3, N] spread evenly through the room (hit-and-run: Smith 1984), and the mean length of lines in it."""
    position = np.zeros((3, count), np.float32)
    chord_m = 0.0
    for _ in range(_MIXING_STEPS):
        direction = _sphere(count, chance)
        ahead, _ = walls.flight(position, direction)
        behind, _ = walls.flight(position, -direction)
        position += direction * (chance.random(count, np.float32) * (ahead + behind) - behind)
        chord_m = float((ahead + behind).mean(dtype=np.float64))
    return position, chord_m


def _sphere(count: int, chance: np.random.Generator) -> Single:
    """[3, N] unit vectors, every direction alike."""
    return _unit(chance.standard_normal((3, count), np.float32))


def _even_sphere(count: int, chance: np.random.Generator) -> Single:
    """As `_sphere`, but with less chance in it: Fibonacci's lattice, turned and shuffled.

    Where walls are smooth, directions last, and the few nearly parallel to two walls make the end of the decay.
    """
    number = np.arange(count)
    angle, height = number * np.pi * (3 - 5**0.5), 1 - (2 * number + 1) / count
    radius = np.sqrt(1 - height * height)
    lattice = np.stack([radius * np.cos(angle), radius * np.sin(angle), height])
    turn = np.linalg.qr(chance.standard_normal((3, 3)))[0]
    return np.asarray((turn @ lattice)[:, chance.permutation(count)], np.float32)


def _unit(vectors: Single) -> Single:
    length: Single = np.maximum(np.sqrt((vectors * vectors).sum(axis=0)), _TOUCHING_M)
    return vectors / length
