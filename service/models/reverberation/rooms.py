"""What a request says of a room, checked: the areas and coefficients that every method starts from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.acoustics.air import air_absorption
from service.acoustics.bands import BANDS_HZ
from service.acoustics.reverberation import FORMULAS, check_room, mean_absorption
from service.errors import InvalidInput
from service.models.reverberation.schemas import WALLS, Air, Method, ReverberationRequest, Surface

Array = NDArray[np.float64]

_AREA_TOLERANCE = 0.01  # by which given areas may differ from a box's own
_AXES = {"left": 0, "right": 0, "front": 1, "back": 1, "floor": 2, "ceiling": 2}


@dataclass(frozen=True, eq=False)
class Box:
    """Walls in the order of WALLS: planes [6, 4] with normals into the room, absorption [6, 8], scattering [6]."""

    planes: Array
    absorption: Array
    scattering: Array


@dataclass(frozen=True, eq=False)
class Room:
    """areas_m2 [N], absorption [N, 8]; axes [N] of the walls that the surfaces are on, if that is known."""

    volume_m3: float
    areas_m2: Array
    absorption: Array
    axes: NDArray[np.intp] | None
    box: Box | None
    air: Air | None
    methods: tuple[Method, ...]
    warnings: tuple[str, ...]
    particles: int = 0
    seed: int = 0

    @property
    def traced(self) -> bool:
        """Whether it takes a second to say how long it rings."""
        return "raytrace" in self.methods

    @property
    def surface_m2(self) -> float:
        return float(self.areas_m2.sum())

    @property
    def air_per_m(self) -> Array:
        if self.air is None:
            return np.zeros(len(BANDS_HZ))
        return air_absorption(self.air.temperature_c, self.air.humidity_pct)

    @property
    def mean_absorption(self) -> Array:
        return mean_absorption(self.areas_m2, self.absorption)


def from_request(request: ReverberationRequest) -> Room:
    """Raises InvalidInput for a room that cannot be, naming the bound, and for methods that need to know more of it."""
    surfaces = request.surfaces
    if request.dimensions_m is None:
        assert request.volume_m3 is not None
        volume, axes, box = request.volume_m3, None, None
        areas = np.array([surface.area_m2 for surface in surfaces], np.float64)
    else:
        surfaces = _spread(surfaces)
        volume, areas = float(np.prod(request.dimensions_m)), _box_areas(request.dimensions_m, surfaces)
        axes = box = None
        if surfaces[0].wall is not None:
            axes = np.array([_AXES[surface.wall] for surface in surfaces if surface.wall is not None])
            box = _box(request.dimensions_m, surfaces, areas)
    absorption = np.array([np.broadcast_to(surface.absorption, len(BANDS_HZ)) for surface in surfaces], np.float64)
    return Room(
        volume_m3=volume,
        areas_m2=areas,
        absorption=absorption,
        axes=axes,
        box=box,
        air=request.air,
        methods=_methods(request.methods, box is not None),
        warnings=_possible(volume, float(areas.sum())),
        particles=request.particles,
        seed=request.seed,
    )


def from_mean(
    volume_m3: float,
    surface_m2: float,
    absorption: Array,
    air: Air | None,
    methods: Sequence[Method] | None,
    warnings: tuple[str, ...] = (),
) -> Room:
    """A room of which the mean absorption [8] is known. Raises InvalidInput as `from_request`."""
    return Room(
        volume_m3=volume_m3,
        areas_m2=np.array([surface_m2]),
        absorption=absorption[None],
        axes=None,
        box=None,
        air=air,
        methods=_methods(methods, box=False),
        warnings=(*_possible(volume_m3, surface_m2), *warnings),
    )


def _methods(wanted: Sequence[Method] | None, box: bool) -> tuple[Method, ...]:
    plain: tuple[Method, ...] = ("sabine", "eyring", "kuttruff")
    if wanted is None:
        return (*plain, "fitzroy", "arau") if box else plain
    if unknowing := [method for method in wanted if method not in FORMULAS and not box]:
        raise InvalidInput(
            f"{', '.join(unknowing)}: only for a box (dimensions_m) of which every surface names its wall"
        )
    return tuple(dict.fromkeys(wanted))


def _possible(volume_m3: float, surface_m2: float) -> tuple[str, ...]:
    try:
        warning = check_room(volume_m3, surface_m2)
    except ValueError as error:
        raise InvalidInput(f"there is no such room: {error}") from error
    return (warning,) if warning else ()


def _spread(surfaces: Sequence[Surface]) -> list[Surface]:
    """One surface that names neither wall nor area is all walls."""
    if len(surfaces) == 1 and surfaces[0].wall is None and surfaces[0].area_m2 is None:
        return [surfaces[0].model_copy(update={"wall": wall}) for wall in WALLS]
    return list(surfaces)


def _wall_areas(dimensions_m: tuple[float, float, float]) -> dict[str, float]:
    width, depth, height = dimensions_m
    return {wall: (depth * height, width * height, width * depth)[_AXES[wall]] for wall in WALLS}


def _box_areas(dimensions_m: tuple[float, float, float], surfaces: Sequence[Surface]) -> Array:
    """[N], with what is left of a wall for a surface that names no area."""
    named = {surface.wall is not None for surface in surfaces}
    if len(named) > 1:
        raise InvalidInput("either every surface names its wall, or none does")
    whole = _wall_areas(dimensions_m)
    if named == {False}:
        areas = np.array([surface.area_m2 or np.nan for surface in surfaces])
        _check_area("the surfaces", areas, sum(whole.values()))
        return areas
    areas = np.zeros(len(surfaces))
    for wall, area in whole.items():
        on_it = [index for index, surface in enumerate(surfaces) if surface.wall == wall]
        if not on_it:
            raise InvalidInput(f"no surface is on the {wall}; every wall of a box has one")
        given = np.array([surfaces[index].area_m2 or np.nan for index in on_it])
        if np.isnan(given).sum() == 1:
            left = area - np.nansum(given)
            if left <= 0:
                raise InvalidInput(
                    f"the {wall} has {area:g} m2, and its surfaces have {np.nansum(given):g} m2 and more"
                )
            given = np.where(np.isnan(given), left, given)
        _check_area(f"the surfaces on the {wall}", given, area)
        areas[on_it] = given
    return areas


def _check_area(what: str, areas: Array, whole_m2: float) -> None:
    if np.isnan(areas).any():
        raise InvalidInput(f"{what}: one may leave out its area_m2 if it names its wall, the others may not")
    if abs(areas.sum() - whole_m2) > _AREA_TOLERANCE * whole_m2:
        raise InvalidInput(f"{what} have {areas.sum():g} m2 together, but the box has {whole_m2:g} m2 there")


def _box(dimensions_m: tuple[float, float, float], surfaces: Sequence[Surface], areas: Array) -> Box:
    """A wall of several surfaces is one of their mean, as rays cannot tell where on it they are."""
    planes, absorption, scattering = np.zeros((6, 4)), np.zeros((6, len(BANDS_HZ))), np.zeros(6)
    for index, wall in enumerate(WALLS):
        far = wall in ("right", "back", "ceiling")
        planes[index, _AXES[wall]] = -1 if far else 1
        planes[index, 3] = dimensions_m[_AXES[wall]] if far else 0
        on_it = [number for number, surface in enumerate(surfaces) if surface.wall == wall]
        shares = areas[on_it] / areas[on_it].sum()
        absorption[index] = sum(
            share * np.asarray(surfaces[number].absorption) for share, number in zip(shares, on_it, strict=True)
        )
        scattering[index] = shares @ [surfaces[number].scattering for number in on_it]
    return Box(planes, absorption, scattering)
