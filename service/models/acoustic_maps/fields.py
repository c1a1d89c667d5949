"""The form fields of POST /v1/acoustic-maps: what goes with the pictures."""

import re
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from service.acoustics.reverberation import check_room
from service.dsp.sync import FrameClock, frame_rate
from service.errors import InvalidInput


def _times(value: object) -> object:
    """ "0, 0.5" and ["0", "0.5"] are lists of numbers."""
    texts = value if isinstance(value, list) else [value]
    return [time for text in texts for time in re.split(r"[,\s]+", str(text).strip())]


MAX_TIME_S = 1e10  # room for seconds since 1970

FrameRate = Annotated[Fraction, BeforeValidator(lambda value: frame_rate(str(value)))]
Times = Annotated[list[Annotated[float, Field(ge=-MAX_TIME_S, le=MAX_TIME_S)]], BeforeValidator(_times)]


class SceneFields(BaseModel):
    """When the pictures were taken, and what is known of the room."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    fps: FrameRate | None = Field(
        None,
        description="The pictures are successive frames of a video, this many a second: 25, 29.97 or 30000/1001.",
        examples=["29.97"],
    )
    timestamps: Times | None = Field(
        None,
        max_length=10_000,
        description="Seconds at which the pictures were taken, increasing, one for each: separated by commas, or the "
        "field repeated. In place of `fps`.",
        examples=["0, 0.5, 1.25"],
    )
    offset_s: float = Field(
        0.0,
        ge=-MAX_TIME_S,
        le=MAX_TIME_S,
        description="Seconds from time 0 of the pictures to the start of the audio; negative if it began before.",
    )
    scale: float | None = Field(
        None,
        ge=1e-3,
        le=1e3,
        description="Metres per unit of the model's lengths, where you know better than the model. Everything that is "
        "a length is multiplied by it.",
        examples=[1.05],
    )
    room_volume: float | None = Field(
        None, ge=1e-3, le=1e7, description="Cubic metres, if you know them: in place of the reconstructed volume."
    )
    surface_area: float | None = Field(
        None,
        ge=1e-2,
        le=1e7,
        description="Square metres of all that encloses the room, likewise. With both, reverberation times are told "
        "however little the pictures show.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fps is not None and self.timestamps is not None:
            raise ValueError("fps and timestamps contradict each other: send one of them")
        times = self.timestamps or []
        late = next((i for i, (a, b) in enumerate(pairwise(times), start=1) if b <= a), None)
        if late is not None:
            raise ValueError(f"timestamps increase, but number {late} is not after number {late - 1}")
        if self.room_volume is not None and self.surface_area is not None:
            check_room(self.room_volume, self.surface_area)
        return self

    @property
    def timed(self) -> bool:
        return self.fps is not None or self.timestamps is not None

    def times_s(self, num_views: int) -> list[float] | None:
        """When each picture was taken. Raises InvalidInput where there are not as many timestamps as pictures."""
        if self.timestamps is not None and len(self.timestamps) != num_views:
            raise InvalidInput(
                f"there are {len(self.timestamps)} timestamps for {num_views} pictures",
                errors=[{"pointer": "/form/timestamps", "detail": f"needs {num_views} values"}],
            )
        if self.fps is not None:
            return [float(index / self.fps) for index in range(num_views)]
        return self.timestamps

    def clock(self, num_views: int, sample_rate: int) -> FrameClock:
        """Where the pictures lie in the sound; of fields that are `timed`."""
        offset_s = Fraction(self.offset_s)
        if self.fps is not None:
            return FrameClock.constant(self.fps, num_views, sample_rate, offset_s=offset_s)
        return FrameClock.at(self.timestamps or [], sample_rate, offset_s=offset_s)
