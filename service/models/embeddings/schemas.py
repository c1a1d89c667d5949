"""What the embedding routes take and answer: OpenAI's own fields, and ours beside them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from service.web.capability import Description

MAX_ITEMS = 2048  # of one request, as many as OpenAI takes

EncodingFormat = Annotated[
    Literal["float", "base64"],
    Field(description="`base64`: little-endian 32-bit floats, a quarter of the bytes. OpenAI's clients ask for it."),
]
Window = Annotated[bool, Field(description="Whether each window's vector is answered beside the pooled one.")]

_ITEM: list[dict[str, Any]] = [
    {
        "type": "string",
        "description": "A text, or a recording as `data:audio/wav;base64,...`. Nothing is fetched from a URL.",
    },
    {"type": "array", "items": {"type": "integer"}, "description": "Token ids; `tokenizer` says whose."},
    {
        "type": "object",
        "description": "A text or a recording, also as OpenAI's content parts.",
        "examples": [
            {"audio": "UklGRiQAAABXQVZF..."},
            {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF...", "format": "wav"}},
            {"type": "text", "text": "a dog barks"},
        ],
    },
]
Input = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [*_ITEM, {"type": "array", "items": {"anyOf": _ITEM}, "minItems": 1, "maxItems": MAX_ITEMS}]}
    ),
]
Vector = list[float] | str


class EmbeddingsRequest(BaseModel):
    """The body of `/v1/embeddings`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="`embeddings`.", examples=["embeddings"])
    input: Input = Field(description="An item or a list of them; texts and recordings may be mixed.")
    encoding_format: EncodingFormat = "float"
    dimensions: int | None = Field(
        None,
        description="As many as the vectors have: they are not trained to be cut short, so no other number is taken.",
    )
    user: str | None = Field(None, description="Taken, and not used.")
    window: Window = False
    tokenizer: str | None = Field(
        None,
        description="SHA-256 of the tokenizer whose ids `input` has: the one that `GET /v1/models/embeddings` states. "
        "Without it ids are refused, because those of another vocabulary would be embedded as another text.",
    )


class TextItem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text"] = "text"
    text: str


class InputAudio(BaseModel):
    model_config = ConfigDict(extra="forbid")

    data: str
    format: str | None = None  # the bytes tell


class InputAudioItem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["input_audio"]
    input_audio: InputAudio


class AudioItem(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["audio"] = "audio"
    audio: str


class AudioEmbeddingsOptions(BaseModel):
    """The query of `/v1/audio/embeddings`."""

    model_config = ConfigDict(extra="forbid")

    window: Window = False
    encoding_format: EncodingFormat = "float"


class TextWindowAnswer(BaseModel):
    """A part of a text."""

    char_start: int = Field(description="The first character.", examples=[0])
    char_end: int = Field(description="Behind the last one.", examples=[1893])
    embedding: Vector


class AudioWindowAnswer(BaseModel):
    """A part of a recording."""

    start_s: float = Field(examples=[3.2])
    end_s: float = Field(examples=[9.6])
    embedding: Vector


class EmbeddingAnswer(BaseModel):
    object: Literal["embedding"]
    index: int = Field(description="Of the item in `input`.")
    embedding: Vector = Field(description="Of norm 1: the mean of the item's windows, those of a text by their tokens.")
    windows: list[TextWindowAnswer | AudioWindowAnswer] | None = Field(
        None, description="With `window`, except of token ids."
    )


class Usage(BaseModel):
    prompt_tokens: int = Field(description="That the text model read: special ones too, and overlaps twice.")
    total_tokens: int
    audio_seconds: float
    windows: int = Field(description="That the models ran on.")


class EmbeddingsAnswer(BaseModel):
    """OpenAI's answer, and `space_id`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": [0.0361, -0.0512, 0.0107]}],
                "model": "embeddings",
                "usage": {"prompt_tokens": 5, "total_tokens": 5, "audio_seconds": 0.0, "windows": 1},
                "space_id": "5eed5eed5eed",
            }
        }
    )

    object: Literal["list"]
    data: list[EmbeddingAnswer]
    model: str
    usage: Usage
    space_id: str = Field(description="Vectors of different spaces mean different things: never compare them.")


class AudioLimits(BaseModel):
    sample_rate: int = Field(description="To which sound is converted, in Hz.")
    window_s: float
    hop_s: float = Field(
        description="From the beginning of a window to that of the next; the last ends with the sound."
    )
    max_audio_s: float = Field(description="Longer sound is refused with 413, never cut.")
    frontend: Literal["waveform", "mel"]


class TextLimits(BaseModel):
    window_tokens: int
    stride_tokens: int = Field(description="From the beginning of a window to that of the next.")
    tokenizer: str = Field(description="SHA-256 of the tokenizer's file.")
    max_chars: int = Field(description="Of all texts of a request together; more are refused with 413, never cut.")
    max_tokens: int = Field(description="Likewise.")


class RequestLimits(BaseModel):
    max_items: int
    max_json_bytes: int = Field(description="Of the body of `/v1/embeddings`; recordings with them.")
    max_body_bytes: int = Field(description="Of the body of `/v1/audio/embeddings`.")


class EmbeddingsDescription(Description):
    """What `GET /v1/models/embeddings` says."""

    space_id: str
    dims: int
    preset: str
    audio_digest: str = Field(description="SHA-256 of the audio encoder's weights.")
    text_digest: str
    audio: AudioLimits
    text: TextLimits
    limits: RequestLimits
