"""The query of POST /v1/acoustic-maps: which form the answer has, and what is in it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.models.acoustic_maps.formats.axes import FrameName
from service.models.acoustic_maps.formats.steam_audio import Mapping
from service.models.acoustic_maps.maps import DType, MapName

FormatName = Literal[
    "summary",
    "npz",
    "safetensors",
    "picture",
    "glb",
    "room-ir",
    "engine-pack",
    "steam-audio",
    "unity",
    "pictures",
    "textures",
    "scene",
    "scene-npz",
    "scene-safetensors",
    "resonance-audio",
    "meta-xr",
    "realitykit",
    "openxr",
    "wwise",
    "habitat",
]
Method = Literal["sabine", "eyring", "kuttruff", "raytrace"]


class AnswerOptions(BaseModel):
    """What is wanted of the room; each option belongs to the formats that its description names."""

    model_config = ConfigDict(extra="forbid")

    format: FormatName | None = Field(
        None,
        description="The form of the answer by name, where `Accept` alone does not tell: several share a media type. "
        "`GET /v1/models/acoustic_maps` lists them.",
        examples=["glb"],
    )
    map: list[MapName] | None = Field(
        None,
        max_length=16,
        description="Which maps, for npz, safetensors, pictures and picture; repeat it for several. Default: all but "
        "world_points and its confidence; for a picture, absorption.",
    )
    dtype: DType = Field(
        "float32",
        description="Of the maps in npz and safetensors. float16: half the bytes, 0.05 % off. uint8: maps in [0, 1] "
        "as q = round(255 sqrt(a)), read as (q / 255)^2, off by at most sqrt(a)/255 + 1/(4 255^2), the others float16.",
    )
    view: int = Field(0, ge=0, description="Which view, for a picture; 0 is the first.")
    band: int = Field(1000, description="Octave band in Hz, for a picture of absorption.", examples=[1000])
    rt60_method: Method = Field(
        "eyring",
        description="How reverberation times are computed. `raytrace` takes longer, and is right for smooth rooms too.",
    )
    faces: int = Field(1000, ge=12, le=100_000, description="At most so many triangles, for glb.")
    frame: FrameName = Field("gltf", description="Axes and units of the scene.")
    steam_mapping: Mapping = Field(
        "overlap",
        description="How Steam Audio's three bands come from eight: by what overlaps, or the values at 250 Hz, 1 and "
        "4 kHz that its own presets have. For steam-audio, unity and engine-pack.",
    )
    channels: int = Field(1, ge=1, le=2, description="Of room-ir: one, or two microphones 18 cm apart.")
