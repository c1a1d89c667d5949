"""What `/v1/reverberation` takes and answers, with units, ranges and examples."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.acoustics.air import HUMIDITY_PCT, TEMPERATURE_C
from service.acoustics.bands import BANDS_HZ
from service.acoustics.raytrace import MAX_PARTICLES, PARTICLES
from service.web.capability import Description

MAX_SURFACES = 1000
MAX_LENGTH_M, MAX_VOLUME_M3, MAX_AREA_M2 = 1e3, 1e9, 1e7

Method = Literal["sabine", "eyring", "kuttruff", "fitzroy", "arau", "raytrace"]
METHODS: tuple[Method, ...] = get_args(Method)
Wall = Literal["left", "right", "front", "back", "floor", "ceiling"]
WALLS: tuple[Wall, ...] = get_args(Wall)

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Bands = Annotated[list[Share], Field(min_length=len(BANDS_HZ), max_length=len(BANDS_HZ))]
Length = Annotated[float, Field(gt=0.01, le=MAX_LENGTH_M, allow_inf_nan=False)]
Volume = Annotated[float, Field(ge=1e-3, le=MAX_VOLUME_M3, allow_inf_nan=False)]
Area = Annotated[float, Field(gt=0, le=MAX_AREA_M2, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=TEMPERATURE_C[0], le=TEMPERATURE_C[1], allow_inf_nan=False)]
Humidity = Annotated[float, Field(ge=HUMIDITY_PCT[0], le=HUMIDITY_PCT[1], allow_inf_nan=False)]

_BOX = {
    "dimensions_m": [6, 5, 3],
    "surfaces": [
        {"wall": "floor", "absorption": [0.02, 0.06, 0.14, 0.37, 0.6, 0.65, 0.65, 0.65], "scattering": 0.2},
        {"wall": "ceiling", "absorption": 0.05},
        *({"wall": wall, "absorption": 0.08, "scattering": 0.1} for wall in ("left", "right", "front")),
        {"wall": "back", "area_m2": 6, "absorption": 0.55, "scattering": 0.6},
        {"wall": "back", "absorption": 0.08},
    ],
    "methods": ["eyring", "arau", "raytrace"],
}
_SURFACES = {
    "volume_m3": 100,
    "surfaces": [{"area_m2": 100, "absorption": 0.1}, {"area_m2": 30, "absorption": 0.6}],
    "air": {"temperature_c": 22, "humidity_pct": 40},
}
EXAMPLES: dict[str, Any] = {
    "surfaces": {"summary": "A volume and the surfaces around it", "value": _SURFACES},
    "box": {"summary": "A box with a curtain on one wall, also by ray tracing", "value": _BOX},
}


class Surface(BaseModel):
    """A part of the room's boundary."""

    model_config = ConfigDict(extra="forbid")

    area_m2: Area | None = Field(None, description="Square metres. Default, in a box: what is left of the wall.")
    absorption: Share | Bands = Field(
        description="Random-incidence energy coefficient of ISO 354: one for all bands, or one for each of `bands_hz`."
    )
    scattering: Share = Field(0.1, description="Share of the reflected energy that leaves the mirror direction.")
    wall: Wall | None = Field(None, description="Of a box, the wall that the surface is on.")


class Air(BaseModel):
    model_config = ConfigDict(extra="forbid")

    temperature_c: Temperature = Field(default=20.0, description="Degrees Celsius")
    humidity_pct: Humidity = Field(default=50.0, description="Relative, percent")


Methods = Annotated[
    list[Method] | None,
    Field(
        min_length=1,
        max_length=len(METHODS),
        description="Default: every formula that what is known of the room allows; `raytrace` only if it is named. "
        "`fitzroy`, `arau` and `raytrace` need a box and what is on each of its walls.",
        examples=[["eyring"]],
    ),
]


class ReverberationRequest(BaseModel):
    """A room: either a volume and the area of each surface, or a box and what is on its walls."""

    model_config = ConfigDict(extra="forbid")

    surfaces: list[Surface] = Field(min_length=1, max_length=MAX_SURFACES)
    volume_m3: Volume | None = Field(None, description="Cubic metres")
    dimensions_m: tuple[Length, Length, Length] | None = Field(
        None, description="Of a box, in metres: from left to right, from front to back, from floor to ceiling."
    )
    air: Air | None = Field(Air(), description="null: air takes nothing, which is far from true above 4 kHz.")
    methods: Methods = None
    particles: int = Field(PARTICLES, ge=1000, le=MAX_PARTICLES, description="Of ray tracing.")
    seed: int = Field(0, ge=0, lt=1 << 32, description="Of ray tracing: the same seed gives the same times.")

    @model_validator(mode="after")
    def _one_room(self) -> Self:
        if (self.volume_m3 is None) == (self.dimensions_m is None):
            raise ValueError("a room has either volume_m3 or dimensions_m")
        if self.dimensions_m is None:
            for index, surface in enumerate(self.surfaces):
                if surface.wall is not None or surface.area_m2 is None:
                    raise ValueError(f"without dimensions_m, surface {index} has an area_m2 and no wall")
        return self


def _listed(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


class MapOptions(BaseModel):
    """The query of `/v1/reverberation`, for maps: what JSON has in its body."""

    model_config = ConfigDict(extra="forbid")

    volume_m3: Volume | None = Field(None, description="Of the room that the maps show.", examples=[90])
    surface_m2: Area | None = Field(None, description="Of all its surfaces.", examples=[126])
    methods: Annotated[str, Field(pattern=r"^[a-z,]{1,100}$")] | None = Field(
        None, description="Names with commas between them: sabine, eyring, kuttruff.", examples=["sabine,eyring"]
    )
    temperature_c: Temperature = Field(20.0, description="Of the air, degrees Celsius.", examples=[20])
    humidity_pct: Humidity = Field(50.0, description="Of the air, relative, percent.", examples=[50])
    air: bool = Field(True, description="false: air takes nothing.")


class MapRoom(BaseModel):
    """The query of `/v1/reverberation` where its body is maps."""

    volume_m3: Volume
    surface_m2: Area
    methods: Annotated[Methods, BeforeValidator(_listed)] = None


class AirAnswer(Air):
    attenuation_per_m: list[float] = Field(description="Energy attenuation m in 1/m of each band, ISO 9613-1.")


class MethodAnswer(BaseModel):
    """What one method says of each band; null where the room never falls silent."""

    method: Method
    rt60_s: list[float | None] = Field(description="Seconds in which sound falls by 60 dB.")
    c50_db: list[float | None] = Field(description="Clarity: energy of the first 50 ms against the rest.")
    c80_db: list[float | None]
    d50: list[float | None] = Field(description="Definition: share of the first 50 ms.")
    ts_s: list[float | None] = Field(description="Centre time.")


class ReverberationAnswer(BaseModel):
    """How a room rings."""

    bands_hz: list[int]
    volume_m3: float
    surface_m2: float
    mean_absorption: list[float] = Field(description="Of each band, weighted by area.")
    absorption_area_m2: list[float] = Field(description="Equivalent absorption area of surfaces and air, A + 4 m V.")
    critical_distance_m: list[float | None] = Field(
        description="From an omnidirectional source: where direct and reverberant sound are equally loud."
    )
    air: AirAnswer | None
    results: list[MethodAnswer] = Field(description="One of each method, in the order in which they were named.")
    warnings: list[str]


class ReverberationLimits(BaseModel):
    max_surfaces: int
    max_length_m: float
    max_particles: int
    max_json_bytes: int
    max_map_bytes: int


class ReverberationDescription(Description):
    """Methods, bands and limits."""

    bands_hz: list[int]
    methods: list[Method]
    walls: list[Wall]
    default_particles: int
    limits: ReverberationLimits
