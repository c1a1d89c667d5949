"""What the tokenizer's routes take and answer, with units, ranges and examples."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.media.audio import Channel
from service.web.capability import Description
from service.web.problems import Problem

Codebooks = Annotated[
    int,
    Field(
        ge=1,
        description="Splits each token into this many smaller ids, the most significant bits first. Must divide the "
        "model's bits (18: 1, 2, 3, 6, 9 or 18).",
        examples=[2],
    ),
]
VocabOffset = Annotated[
    int | None,
    Field(
        ge=0,
        le=1 << 40,
        description="First id of the audio tokens in a language model's vocabulary. Codebook k counts from "
        "`vocab_offset + k * codebook_size`; without it every codebook counts from 0.",
        examples=[32000],
    ),
]
WindowFrames = Annotated[
    int | None,
    Field(
        ge=1,
        description="Frames (10 ms) that the model hears at once: a multiple of its `time_patch`, at most its own "
        "window, which is the default.",
        examples=[1024],
    ),
]
ChannelOption = Annotated[
    Channel,
    Field(description="`mix` averages all channels; `left` and `right` take one; `each` keeps them apart."),
]


class IdOptions(BaseModel):
    """How tokens become ids."""

    codebooks: Codebooks = 1
    vocab_offset: VocabOffset = None


class TokenizeOptions(IdOptions):
    """The query of `/v1/tokenize`."""

    model_config = ConfigDict(extra="forbid")

    channel: ChannelOption = "mix"
    window_frames: WindowFrames = None


class TokenizeAnswer(BaseModel):
    """Audio as tokens, and what it takes to turn them back."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "tokenizer",
                "model_digest": "5eed" * 16,
                "sample_rate": 16000,
                "num_samples": 1280,
                "num_frames": 8,
                "window_frames": 1024,
                "bits": 18,
                "codebooks": 2,
                "codebook_size": 512,
                "vocab_offset": 32000,
                "grid": [1, 4],
                "duration_s": 0.08,
                "tokens": [[32255, 33023, 32008, 32512, 32000, 32589, 32511, 33023]],
            }
        }
    )

    model: Literal["tokenizer"] = "tokenizer"
    model_digest: str = Field(description="SHA-256 of the weights: tokens mean nothing to any other model.")
    sample_rate: int = Field(description="Hz; what the audio was resampled to.")
    num_samples: int = Field(description="Samples per channel at `sample_rate`; decoding gives exactly as many.")
    num_frames: int = Field(description="Mel frames, 10 ms each.")
    window_frames: int = Field(description="Frames per window; tokens are decoded in the windows they were made in.")
    bits: int = Field(description="Bits of a whole token.")
    codebooks: int = Field(description="Ids per token.")
    codebook_size: int = Field(description="Ids per codebook: 2 ** (bits / codebooks).")
    vocab_offset: int | None = Field(description="What was added to the ids; null: nothing.")
    grid: tuple[int, int] = Field(description="Tokens in time and in frequency.")
    duration_s: float
    tokens: list[list[int]] = Field(
        description="One list per channel, time-major: all bands of a step, low to high, then the next step."
    )


class DetokenizeRequest(BaseModel):
    """The JSON answer of `/v1/tokenize`, or tokens that another program made."""

    model_config = ConfigDict(extra="ignore", strict=True)

    tokens: list[list[int]] = Field(min_length=1, max_length=8, description="One list per channel; all of one length.")
    codebooks: Codebooks = 1
    vocab_offset: VocabOffset = None
    window_frames: WindowFrames = None
    num_samples: int | None = Field(
        None, ge=1, description="Samples per channel to give back; default: all that the tokens cover."
    )
    model_digest: str | None = Field(None, description="If given, it must be that of the served model.")


class StreamStart(IdOptions):
    """The first message of a stream: what the bytes after it are, and what is wanted."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"]
    format: Literal["pcm_s16le", "pcm_f32le"] = Field(description="Little-endian; channels interleaved.")
    sample_rate: int = Field(description="Hz", examples=[48000])
    channels: int = 1
    channel: ChannelOption = "mix"
    window_frames: WindowFrames = 256


class StreamEnd(BaseModel):
    """The last message of a client: no more samples will come."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["end"]


class StreamStarted(IdOptions):
    """The answer to `start`."""

    type: Literal["started"] = "started"
    request_id: str
    model: Literal["tokenizer"] = "tokenizer"
    model_digest: str
    sample_rate: int = Field(description="Hz; what the audio is resampled to.")
    window_frames: int
    codebook_size: int


class StreamTokens(BaseModel):
    """The tokens of one more window; only the new ones."""

    type: Literal["tokens"] = "tokens"
    seq: int = Field(description="0, 1, 2, ...")
    first_frame: int = Field(description="Where the window begins, in frames of 10 ms.")
    num_frames: int
    tokens: list[list[int]] = Field(description="One list per channel, as in `/v1/tokenize`.")
    is_final: bool = Field(description="True once, in the last message, which carries no tokens but the totals.")
    num_samples: int | None = Field(
        default=None, description="Samples in all, at the model's rate; in the last message."
    )


class StreamProblem(BaseModel):
    """What ended the stream."""

    type: Literal["problem"] = "problem"
    problem: Problem


class Grid(BaseModel):
    time_patch: int = Field(description="Frames that a token covers.", examples=[8])
    freq_patch: int = Field(description="Mel bins that a token covers.", examples=[32])
    bands: int = Field(description="Tokens per time step.", examples=[4])
    steps_per_second: float = Field(examples=[12.5])
    order: Literal["time-major"] = "time-major"


class Codebook(BaseModel):
    """One way to split tokens: pass `codebooks` to get it."""

    codebooks: int
    codebook_size: int
    ids_per_second: float
    offsets: list[int] = Field(description="Added to `vocab_offset` for each codebook in turn.")


class MelDescription(BaseModel):
    sample_rate: int = Field(description="Hz")
    n_fft: int
    hop_length: int = Field(description="Samples")
    n_mels: int
    db_min: float = Field(description="dB below full scale")
    db_max: float


class Limits(BaseModel):
    max_audio_s: float = Field(description="Seconds")
    max_body_bytes: int
    max_channels: int
    min_sample_rate_hz: int
    max_sample_rate_hz: int


class Formats(BaseModel):
    tokenize: list[str] = Field(description="What `POST /v1/tokenize` answers.")
    detokenize: list[str] = Field(description="What `POST /v1/detokenize` answers.")


class TokenizerDescription(Description):
    """The tokenizer: rates, grid, ids, limits."""

    model_digest: str = Field(description="SHA-256 of the weights.")
    sample_rate: int = Field(description="Hz", examples=[16000])
    bits: int = Field(description="Bits of a token.", examples=[18])
    codebook_size: int = Field(description="2 ** bits.", examples=[262144])
    tokens_per_second: float = Field(description="Per channel.", examples=[50.0])
    bits_per_second: float = Field(description="Per channel.", examples=[900.0])
    window_frames: int = Field(description="Frames of 10 ms that the model hears at once.", examples=[1024])
    grid: Grid
    codebooks: list[Codebook]
    mel: MelDescription
    vocoder: Literal["neural", "griffin-lim"]
    vocoder_digest: str | None = Field(description="SHA-256 of the vocoder's weights.")
    limits: Limits
    formats: Formats
