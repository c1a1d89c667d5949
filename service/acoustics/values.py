"""Values of a whole room: its volume, surface and reverberation time, and what makes them doubtful."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.acoustics.air import air_absorption
from service.acoustics.geometry import Array, Mask
from service.acoustics.mesh import MIN_TRIANGLES, Mesh
from service.acoustics.raytrace import trace
from service.acoustics.reverberation import FORMULAS, check_room
from service.acoustics.room import OUTSIDE, SIDES
from service.acoustics.samples import ABSORPTION, SCATTERING
from service.acoustics.scene import NoRoom, Room
from service.acoustics.surfaces import Surfaces

METHODS = (*FORMULAS, "raytrace")
MIN_SEEN_FRACTION = 0.2  # of the hull: with less, what is unseen decides
MAX_UNSEEN_SIDES = 3  # of the hull, assumed where what was seen ends; with more, its size is not known
RECOMMENDED_VIEWS = 4
_LITTLE = 0.2  # of a side
_STRANGE_SHARE = 0.15  # of the samples outside of the hull
_SMOOTH = 0.2  # mean scattering below which formulas for a diffuse field are doubtful


@dataclass(frozen=True, eq=False)
class Options:
    """What the caller knows about the room beyond its pictures, and wants.

    Raises ValueError for a number that is not positive and finite, a volume that cannot have that surface, a method
    that is not one of METHODS, and fewer triangles than a box has.
    """

    scale: float | None = None  # metres per unit of length of the maps
    metric: bool = False  # the maps are in metres
    room_volume: float | None = None  # m3 of air
    surface_area: float | None = None  # m2 of all surfaces
    rt60_method: str = "eyring"
    air_per_m: NDArray[np.float64] = field(default_factory=air_absorption)  # [8] energy attenuation
    max_triangles: int = 1000

    def __post_init__(self) -> None:
        for name in ("scale", "room_volume", "surface_area"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ValueError(f"{name} is positive and finite, not {value:g}")
        if self.room_volume is not None and self.surface_area is not None:
            check_room(self.room_volume, self.surface_area)
        if self.rt60_method not in METHODS:
            raise ValueError(f"rt60_method is one of {', '.join(METHODS)}, not {self.rt60_method!r}")
        if self.max_triangles < MIN_TRIANGLES:
            raise ValueError(f"a room has at least {MIN_TRIANGLES} triangles, not {self.max_triangles}")


def room_values(surfaces: Surfaces, options: Options) -> tuple[Room, float, float]:
    """The room's values, metres per unit of the maps, and by what given areas exceed the measured ones.

    Raises NoRoom for a given volume or surface that the measured other one, at the given scale, contradicts.
    """
    hull, seen = surfaces.hull, surfaces.seen_fraction
    shaped = seen >= MIN_SEEN_FRACTION and (~hull.seen).sum() <= MAX_UNSEEN_SIDES
    measured = float(surfaces.area.sum())
    length, source = options.scale, "request"
    if length is None and shaped and options.room_volume is not None:
        length = (options.room_volume / surfaces.volume) ** (1 / 3)
    elif length is None and shaped and options.surface_area is not None:
        length = (options.surface_area / measured) ** 0.5
    if length is None:
        length, source = 1.0, "model" if options.metric else "none"
    volume = options.room_volume if options.room_volume is not None else surfaces.volume * length**3
    surface = options.surface_area if options.surface_area is not None else measured * length**2
    given = options.room_volume is not None and options.surface_area is not None
    if shaped and options.scale is not None and (options.room_volume, options.surface_area) != (None, None):
        try:
            check_room(volume, surface)
        except ValueError as exc:
            raise NoRoom(f"what is given does not fit what they show: {exc}") from exc
    times = _reverberation(surfaces, volume, surface, options) if shaped or given else {}
    first, second, upright = (float(extent) for extent in hull.dims * length)
    room = Room(
        volume if shaped or options.room_volume is not None else None,
        surface if shaped or options.surface_area is not None else None,
        (first, second, upright) if shaped else None,
        hull.axes[2].astype(np.float32),
        seen,
        {method: seconds.astype(np.float32) for method, seconds in times.items()},
        options.rt60_method,
        np.asarray(options.air_per_m, np.float32),
        source != "none",
        source,
    )
    return room, length, surface / (measured * length**2)


def _reverberation(surfaces: Surfaces, volume: float, surface: float, options: Options) -> Mapping[str, Array]:
    """By every formula, and by rays if they are the method: [8] seconds, NaN where a band does not decay."""
    areas = surfaces.area * (surface / surfaces.area.sum())
    absorption = surfaces.properties[:, ABSORPTION].clip(0, 1)
    times = {name: formula(volume, areas, absorption, options.air_per_m) for name, formula in FORMULAS.items()}
    if options.rt60_method not in FORMULAS:
        size = volume ** (1 / 3)  # times grow with lengths, so that a room of 1 m3 stands for one of any size
        times["raytrace"] = size * _traced(surfaces, areas / size**2, absorption, options.air_per_m * size)
    return times


def _traced(surfaces: Surfaces, areas: Array, absorption: Array, air_per_m: Array) -> Array:
    """[8] seconds of a room of 1 m3."""
    # The hull alone is convex: a box with the volume of the air, whose sides also take what the objects take.
    extents = surfaces.hull.dims / surfaces.hull.volume ** (1 / 3)
    sizes = np.repeat(1 / extents, 2)
    values = np.column_stack([absorption, surfaces.properties[:, SCATTERING]]) * areas[:, None]
    on_objects = values[surfaces.plane >= SIDES].sum(axis=0) * (sizes / sizes.sum())[:, None]
    totals = on_objects + [values[surfaces.plane == side].sum(axis=0) for side in range(SIDES)]
    area = np.array([areas[surfaces.plane == side].sum() for side in range(SIDES)])
    area += areas[surfaces.plane >= SIDES].sum() * sizes / sizes.sum()
    normals = np.repeat(np.eye(3), 2, axis=0) * np.tile([1, -1], 3)[:, None]
    planes = np.column_stack([normals, np.where(np.arange(SIDES) % 2, np.repeat(extents, 2), 0)])
    alpha, scattering = totals[:, :-1] / sizes[:, None], totals[:, -1] / np.maximum(area, 1e-12)
    return trace(planes, alpha.clip(0, 1), scattering.clip(0, 1), air_per_m).rt60()


def warnings(surfaces: Surfaces, mesh: Mesh, room: Room, options: Options, usable: Mask) -> tuple[str, ...]:
    """What the caller should know before believing `room`; `usable` [S]: the views that were used."""
    hull, found = surfaces.hull, []
    if not usable.all():
        left_out = ", ".join(str(number) for number in np.flatnonzero(~usable))
        found.append(f"views that could not be placed among the others were left out: {left_out}")
    if usable.sum() < RECOMMENDED_VIEWS:
        found.append(
            f"{RECOMMENDED_VIEWS} or more views from different corners, up and down, are recommended; there are "
            f"{usable.sum()}"
        )
    unseen = [name for name, seen in zip(_side_names(), hull.seen, strict=True) if not seen]
    if room.seen_area_fraction < MIN_SEEN_FRACTION:
        found.append(
            f"{room.seen_area_fraction:.0%} of the room's surface was seen, less than {MIN_SEEN_FRACTION:.0%}: "
            + (
                "volume, surface, extents and reverberation time are left out where they are not given"
                if room.rt60_s is None
                else "that all of it absorbs like this is a guess"
            )
        )
    elif len(unseen) > MAX_UNSEEN_SIDES:
        found.append(
            f"{len(unseen)} of the room's 6 sides were not seen, so its size is not known: {', '.join(unseen)}"
        )
    elif unseen:
        found.append(f"not seen, and assumed where what was seen ends: {', '.join(unseen)}")
    little = [name for name, share in zip(_side_names(), surfaces.seen_shares, strict=True) if 0 < share < _LITTLE]
    if little:
        found.append(f"less than {_LITTLE:.0%} was seen of {', '.join(little)}: the rest is taken to be like it")
    if room.scale_source == "none":
        found.append(
            "the scale is not known: lengths are in units of the model, and times are wrong by the same factor"
        )
    outside = float((hull.side == OUTSIDE).mean())
    if outside > _STRANGE_SHARE:
        found.append(f"{outside:.0%} of what was seen lies outside of the box that was taken for the room")
    scattering = float(surfaces.area @ surfaces.properties[:, SCATTERING] / surfaces.area.sum())
    if room.rt60_s is not None and room.rt60_method in FORMULAS and scattering < _SMOOTH:
        found.append(
            f"surfaces are smooth (mean scattering {scattering:.2f}), where {room.rt60_method}'s formula may say half "
            "of the reverberation time: raytrace follows the sound"
        )
    if room.rt60_s is not None and np.isnan(room.rt60_s).any():
        found.append("some bands do not decay: nothing absorbs in them")
    if mesh.dropped:
        found.append(f"{mesh.dropped} of the smallest objects found no room among {options.max_triangles} triangles")
    return tuple(found)


def _side_names() -> tuple[str, ...]:
    return (*(f"wall {number + 1}" for number in range(4)), "the floor", "the ceiling")
