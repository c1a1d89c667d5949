"""What the route answers as JSON, and what the capability says of itself."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.web.capability import Description

Bands = list[float | None]
Matrix = list[list[float]]


class Scale(BaseModel):
    metric: bool = Field(description="Lengths are metres; else they are only in proportion.")
    source: Literal["request", "model", "none"]


class Air(BaseModel):
    m_per_m: list[float] = Field(description="Energy attenuation per metre and band, ISO 9613-1 at 20 C and 50 %.")


class RoomValues(BaseModel):
    """Null where what was seen does not determine a value."""

    volume_m3: float | None
    surface_m2: float | None
    dims_m: list[float] | None = Field(description="Of the box around it: two horizontal extents, then the height.")
    up: list[float]
    rt60_s: Bands | None = Field(description="Reverberation time per band.")
    rt60_method: str
    c50_db: Bands = Field(description="Clarity for speech: energy before over after 50 ms, of a diffuse decay.")
    c80_db: Bands = Field(description="Clarity for music: the same at 80 ms.")
    d50: Bands = Field(description="Share of the energy before 50 ms.")
    critical_distance_m: Bands = Field(description="At which direct and reverberant sound are equal.")
    rt60_by_method_s: dict[str, Bands | None] = Field(description="The same by each formula.")
    air: Air
    seen_area_fraction: float = Field(description="Of the room's hull, that some picture shows.")


class Impedance(BaseModel):
    re: float
    im: float
    agrees: bool = Field(description="Within 0.1 with the absorption, as that of a locally reacting wall.")


class MaterialValues(BaseModel):
    id: int
    label: str = Field(description="The named material that is nearest.")
    distance: float = Field(description="To it: root mean square over the bands of the difference of sqrt(absorption).")
    confidence: float
    area_m2: float
    absorption: list[float] = Field(description="Random-incidence energy coefficient (ISO 354) per band.")
    reflection: float = Field(description="Energy; at most 1 - the largest absorption.")
    reflection_bands: list[float] = Field(description="Energy that is neither absorbed nor transmitted, per band.")
    scattering: float = Field(description="ISO 17497-1.")
    transmission: list[float] = Field(description="Not predicted: 0.")
    impedance: Impedance = Field(description="Normal specific, in units of rho c, best read at 1 kHz.")
    presets: dict[str, dict[str, Any]] = Field(description="The same as each engine takes it.")


class SurfaceValues(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    id: int
    material: int
    plane: list[float] = Field(description="Unit normal into the room, and d: normal . x + d = 0.")
    area_m2: float
    kind: str = Field(alias="class", description="floor, ceiling, wall or object")


class ViewValues(BaseModel):
    index: int
    intrinsics: Matrix = Field(description="3 x 3, in pixels of the model's image, counted along edges.")
    world_from_camera: Matrix = Field(description="4 x 4, in the axes of `frame`.")
    original_from_model: Matrix = Field(
        description="3 x 3: pixels of the model's image to pixels of the picture as it was sent, turned upright."
    )
    timestamp_s: float | None
    original_size: tuple[int, int] = Field(description="Width and height of the upright picture.")
    rows: tuple[int, int] = Field(
        description="First row of the model's image that shows it, and the one behind the last."
    )
    heard: bool = Field(description="Whether there was sound at it.")


class CueValues(BaseModel):
    """Of the sound around one view; null where it does not tell. Signs as in /v1/spatial-cues: left is positive."""

    view: int
    time_s: float | None
    itd_us: float | None
    ild_db: float | None
    ild_band_db: Bands
    coherence: float | None
    azimuth_deg: float | None
    confidence: float | None
    level_dbfs: float | None


class Units(BaseModel):
    length: Literal["m", "cm"]
    angle: Literal["rad"]


class ServedBy(BaseModel):
    name: Literal["acoustic_maps"]
    digest: str = Field(description="SHA-256 of the weights.")


class ImageSize(BaseModel):
    width: int
    height: int


class Summary(BaseModel):
    """The acoustic scene without its mesh; `format=scene` adds `mesh`."""

    model_config = ConfigDict(protected_namespaces=())

    document: str = Field(alias="schema", examples=["acoustic-scene/1"])
    model: ServedBy
    image: ImageSize = Field(description="Pixels of the pictures as the model saw them.")
    units: Units
    frame: Literal["gltf", "opencv", "unity", "unreal"]
    scale: Scale
    bands_hz: list[int]
    transmission_source: Literal["assumed"]
    room: RoomValues
    materials: list[MaterialValues]
    surfaces: list[SurfaceValues]
    views: list[ViewValues]
    binaural: list[CueValues] | None = Field(description="Null without binaural sound.")
    warnings: list[str]


class ImageLimits(BaseModel):
    width: int = Field(description="Pixels to which pictures are resized.", examples=[256])
    max_height: int = Field(description="Higher ones are cropped in the middle.", examples=[256])
    patch_size: int = Field(description="Heights are multiples of it, and pictures at least as large.", examples=[16])
    max_images: int = Field(examples=[16])
    max_pixels: int = Field(description="Of a picture as it is sent.")
    max_bytes: int = Field(description="Of a picture's file.")
    max_aspect: int = Field(description="Longer over shorter side.")
    formats: list[str]


class SoundFeatures(BaseModel):
    sample_rate: int = Field(description="Hz; what the audio is resampled to.")
    feature: str
    feature_dim: int
    window_s: float = Field(description="Seconds that the model hears of, around the time of a picture.")
    cue_window_s: float = Field(description="Seconds of which spatial cues are measured.")
    max_audio_s: float


class MapDescription(BaseModel):
    name: str
    axes: str = Field(examples=["S H W band"])
    description: str
    max_error: dict[str, str] = Field(description="How far off a decoded value is, by `dtype`.")


class FormatDescription(BaseModel):
    name: str = Field(description="For `format`.")
    media_type: str = Field(description="For `Accept`, which means the first of its type.")
    description: str
    maps: list[str] | None = Field(description="What `map` can name; null: made of the reconstructed room.")


class MapsDescription(Description):
    """The room model: pictures, sound, maps, formats."""

    model_digest: str = Field(description="SHA-256 of the weights.")
    preset: str
    bands_hz: list[int]
    metric: bool = Field(description="Whether lengths are metres without `scale`.")
    images: ImageLimits
    audio: SoundFeatures
    maps: list[MapDescription]
    formats: list[FormatDescription]
