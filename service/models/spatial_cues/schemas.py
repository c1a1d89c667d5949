"""What `/v1/spatial-cues` takes and answers, with units, ranges and examples."""

import math
from fractions import Fraction
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from service.dsp.binaural import MIN_WINDOW_S
from service.dsp.sync import FrameClock, frame_rate
from service.web.capability import Description

MAX_WINDOW_S = 2.0
MAX_MEASURED_S = 24_000.0  # of all windows together: an hour of frames at 30 per second, with some to spare
MAX_FRAMES = int(MAX_MEASURED_S / MIN_WINDOW_S)
MAX_OFFSET_S = 3600.0


def _timestamps(text: str) -> str:
    FrameClock.at(times(text), 48_000)
    return text


def times(text: str) -> list[float]:
    """Raises ValueError for what is no list of numbers, and for more than MAX_FRAMES."""
    parts = text.split(",")
    if len(parts) > MAX_FRAMES:
        raise ValueError(f"at most {MAX_FRAMES} timestamps are accepted")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise ValueError("timestamps are seconds with commas between them, such as 0,0.5,1.25") from None
    if not all(math.isfinite(number) and abs(number) <= 1e6 for number in numbers):
        raise ValueError("timestamps lie within a million seconds")
    return numbers


def _rate(text: str) -> str:
    frame_rate(text)
    return text


class SpatialCuesOptions(BaseModel):
    """The query of `/v1/spatial-cues`."""

    model_config = ConfigDict(extra="forbid")

    fps: Annotated[str, AfterValidator(_rate)] | None = Field(
        None,
        description="Frames of the video per second, as a number or a ratio. 23.976, 29.97, 59.94 and 119.88 are taken "
        "as the NTSC ratios that they stand for. Default: 30.",
        examples=["30000/1001"],
    )
    timestamps: Annotated[str, AfterValidator(_timestamps)] | None = Field(
        None,
        description="Instead of `fps`: the time of each frame in seconds, increasing, with commas between them.",
        examples=["0,0.5,1.25"],
    )
    num_frames: int | None = Field(
        None,
        ge=1,
        le=MAX_FRAMES,
        description="Frames that the video has at `fps`. Default: all that begin before the sound ends.",
        examples=[60],
    )
    offset_s: float = Field(
        0.0,
        ge=-MAX_OFFSET_S,
        le=MAX_OFFSET_S,
        allow_inf_nan=False,
        description="Seconds from the first frame (time 0 of `timestamps`) to the start of the sound; negative if the "
        "sound began before.",
        examples=[-0.021],
    )
    window_s: float = Field(
        MIN_WINDOW_S,
        ge=MIN_WINDOW_S,
        le=MAX_WINDOW_S,
        allow_inf_nan=False,
        description="Seconds of sound, centred on the frame's time, that its cues are measured of.",
        examples=[0.2],
    )
    itd_lowpass: bool = Field(
        False, description="Takes the time difference of the sound below 1.5 kHz instead of 100 Hz to 8 kHz."
    )
    gate_db: float = Field(
        20.0,
        ge=0,
        le=200,
        allow_inf_nan=False,
        description="A frame this far below the loudest one has no time difference and no azimuth; 200 keeps all.",
        examples=[20],
    )
    impulse_response: bool = Field(
        False, description="The sound is a binaural impulse response of a room: adds its IACC of ISO 3382-1."
    )

    @model_validator(mode="after")
    def _one_clock(self) -> Self:
        if self.timestamps is not None and (self.fps is not None or self.num_frames is not None):
            raise ValueError("either timestamps, or fps and num_frames")
        if (self.num_frames or len(times(self.timestamps or "0"))) > self.max_frames:
            raise ValueError(f"at most {self.max_frames} frames are measured at once with this window_s")
        return self

    @property
    def max_frames(self) -> int:
        return int(MAX_MEASURED_S / self.window_s)

    @property
    def rate(self) -> Fraction:
        return frame_rate(self.fps or "30")

    def clock(self, sample_rate: int) -> FrameClock:
        """All frames that there may be: without timestamps and num_frames, the sound decides how many there are."""
        offset_s = Fraction(self.offset_s)
        if self.timestamps is not None:
            return FrameClock.at(times(self.timestamps), sample_rate, offset_s=offset_s)
        return FrameClock.constant(self.rate, self.num_frames or self.max_frames, sample_rate, offset_s=offset_s)


class FrameCues(BaseModel):
    """Cues of one frame; null where its sound does not tell."""

    time_s: float = Field(description="Since the first frame.")
    itd_us: float | None = Field(description="Interaural time difference; positive: the left ear hears it first.")
    ild_db: float | None = Field(
        description="Interaural level difference from 100 Hz to 20 kHz; positive: louder in the left ear. Within +-60."
    )
    ild_band_db: list[float | None] = Field(description="The same in each octave band of `bands_hz`.")
    coherence: float | None = Field(
        description="0 to 1: largest normalised cross-correlation of the ears within 1 ms. It is what IACC is of an "
        "impulse response; running sound has none."
    )
    azimuth_deg: float | None = Field(
        description="-90 (right) to 90 (left) in front, of a spherical head with that time difference; behind, the "
        "mirrored angle is as likely."
    )
    confidence: float = Field(
        description="0 to 1: how far the best time difference stands out from the next best, 1 - second / first peak."
    )
    level_dbfs: float | None = Field(description="Of the louder ear; a full-scale sine is 0. null: silence.")
    valid_samples: int = Field(description="Samples between this frame and the next that the sound has.")


class Correlation(BaseModel):
    """IACC, 0 to 1; null without energy."""

    early: float | None = Field(description="0 to 80 ms from the direct sound.")
    late: float | None = Field(description="From 80 ms.")
    full: float | None


class BandCorrelation(Correlation):
    band_hz: int


class IaccAnswer(Correlation):
    """ISO 3382-1: broadband, and in octave bands."""

    bands: list[BandCorrelation]


class SpatialCuesAnswer(BaseModel):
    """What the ears hear differently."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "sample_rate": 48000,
                "num_samples": 3200,
                "duration_s": 0.066667,
                "fps": "30000/1001",
                "offset_s": 0.0,
                "window_s": 0.2,
                "itd_band_hz": [100.0, 8000.0],
                "bands_hz": [125, 250, 500, 1000, 2000, 4000, 8000, 16000],
                "unused_samples": [0, 0],
                "warnings": [],
                "iacc": {
                    "early": 0.82,
                    "late": 0.11,
                    "full": 0.64,
                    "bands": [{"band_hz": 1000, "early": 0.79, "late": 0.17, "full": 0.61}],
                },
                "frames": [
                    {
                        "time_s": 0.0,
                        "itd_us": 254.7,
                        "ild_db": 8.45,
                        "ild_band_db": [1.09, 2.16, 3.8, 6.61, 7.36, 9.22, 13.07, 8.34],
                        "coherence": 0.95,
                        "azimuth_deg": 29.2,
                        "confidence": 0.87,
                        "level_dbfs": -23.1,
                        "valid_samples": 1602,
                    }
                ],
            }
        }
    )

    sample_rate: int = Field(description="Hz, at which the cues were measured.")
    num_samples: int = Field(description="Of the sound, per channel, at `sample_rate`.")
    duration_s: float
    fps: str | None = Field(description="The frame rate as a ratio; null: `timestamps` were given.")
    offset_s: float
    window_s: float
    itd_band_hz: tuple[float, float]
    bands_hz: list[int]
    unused_samples: tuple[int, int] = Field(description="Samples before the first frame, and after the last.")
    warnings: list[str]
    iacc: IaccAnswer | None = Field(description="Of an impulse response; null for running sound.")
    frames: list[FrameCues]


class SpatialCuesLimits(BaseModel):
    max_audio_s: float = Field(description="Seconds")
    max_body_bytes: int
    max_frames: int = Field(description="With the shortest window; in inverse proportion with longer ones.")
    min_window_s: float
    max_window_s: float
    max_impulse_response_s: float


class SpatialCuesDescription(Description):
    """How cues are measured: bands, ranges, limits."""

    channels: tuple[str, str] = ("left", "right")
    bands_hz: list[int] = Field(description="Octave bands of `ild_band_db`.")
    itd_band_hz: tuple[float, float]
    itd_lowpass_band_hz: tuple[float, float]
    max_itd_us: float
    max_ild_db: float
    min_level_dbfs: float = Field(description="Below it, a frame or a band has no level difference.")
    default_fps: str
    limits: SpatialCuesLimits
    formats: list[str] = Field(description="What `POST /v1/spatial-cues` answers.")
