"""What the routes below `/v1/collections` take and answer, with units, ranges and examples."""

from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.vectors.base import MAX_DIMS, MAX_RESULTS, MAX_WINDOWS, NAME, Distance
from service.web.capability import Description

MAX_ITEMS = 1000  # of one request
MAX_ID = 256
MAX_FIELDS = 64  # of an item's metadata
MAX_METADATA_BYTES = 1 << 14
MAX_MATCHES = 16

Name = Annotated[
    str,
    Path(pattern=NAME, description="Lower-case letters, digits and _, a letter first.", examples=["recordings"]),
]
ItemId = Annotated[
    str, Path(min_length=1, max_length=MAX_ID, description="Any text, slashes too.", examples=["calls/0001.flac"])
]
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID, description="Any text.", examples=["calls/0001.flac"])]
SpaceId = Annotated[
    str,
    Field(
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="Which model the vectors are of. Only those of one space are ever compared.",
        examples=["5eed5eed5eed"],
    ),
]
Vector = Annotated[
    list[float] | str,
    Field(description="As many numbers as the collection has dimensions, or these as base64 of little-endian floats."),
]
Metadata = Annotated[
    dict[str, Any],
    Field(
        max_length=MAX_FIELDS,
        description="Names to texts, numbers, true or false; at most 16 KB of JSON. What filters look at.",
        examples=[{"speaker": "anna", "year": 2024}],
    ),
]
Audio = Annotated[str, Field(description="An audio file in base64, or as `data:audio/wav;base64,...`.")]
Matching = Annotated[
    dict[str, Any] | None,
    Field(
        description="What the metadata must be: fields with values, or with `$eq $ne $in $nin $gt $gte $lt $lte`; "
        "`$and` and `$or` with lists of filters. A field that an item lacks only matches `$ne` and `$nin`.",
        examples=[{"speaker": "anna", "year": {"$gte": 2020}}],
    ),
]
Count = Annotated[int, Field(ge=1, le=MAX_RESULTS, description="Items to answer.", examples=[10])]
Matches = Annotated[
    int, Field(ge=1, le=MAX_MATCHES, description="Windows to answer of each item, at most.", examples=[3])
]
_WAV = "UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YRAAAAAAAAAQACAAEAAAAPAA4ADw"  # eight samples at 8 kHz


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateRequest(_Closed):
    """What a collection will take: vectors of the service's own models, unless another space is named."""

    dims: int | None = Field(None, ge=1, le=MAX_DIMS, description="With `space_id`.", examples=[384])
    space_id: SpaceId | None = None
    distance: Distance = Field("cosine", description="By which vectors are near.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.dims is None) != (self.space_id is None):
            raise ValueError("dims and space_id come together, or neither does")
        return self


class WindowVector(_Closed):
    """The vector of a part: of a sound from start_s to end_s, or of a text from char_start to char_end."""

    vector: Vector
    start_s: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False)
    end_s: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False)
    char_start: int | None = Field(None, ge=0, le=1 << 40)
    char_end: int | None = Field(None, ge=0, le=1 << 40)

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        seconds, characters = (self.start_s, self.end_s), (self.char_start, self.char_end)
        for start, end in (seconds, characters):
            if (start is None) != (end is None) or (start is not None and end is not None and end < start):
                raise ValueError("a range has a start, and an end that is not before it")
        if seconds != (None, None) and characters != (None, None):
            raise ValueError("a range is in seconds or in characters")
        return self


class ItemRequest(_Closed):
    """An item, of which exactly one of text, audio, vector and windows is given."""

    id: Id
    metadata: Metadata = {}
    text: str | None = Field(None, min_length=1, description="Embedded here, in windows where it is long.")
    audio: Audio | None = None
    vector: Vector | None = None
    windows: list[WindowVector] | None = Field(
        None, min_length=1, max_length=MAX_WINDOWS, description="Several vectors, of the item's parts."
    )

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if sum(part is not None for part in (self.text, self.audio, self.vector, self.windows)) != 1:
            raise ValueError("an item has exactly one of text, audio, vector and windows")
        return self


class UpsertRequest(_Closed):
    """Items to write; one of the same id is replaced."""

    items: list[ItemRequest] = Field(min_length=1, max_length=MAX_ITEMS)
    space_id: SpaceId | None = Field(None, description="Needed with vectors: which model they are of.")


class DeleteRequest(_Closed):
    """Which items to delete: those of some ids, or those that a filter matches."""

    ids: list[Id] | None = Field(None, min_length=1, max_length=MAX_ITEMS)
    filter: Matching = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("either ids or a filter says what to delete")
        return self


class SearchRequest(_Closed):
    """What to look for, as exactly one of text, audio and vector."""

    text: str | None = Field(None, min_length=1, examples=["a dog barks"])
    audio: Audio | None = None
    vector: Vector | None = None
    space_id: SpaceId | None = Field(None, description="Needed with a vector: which model it is of.")
    k: Count = 10
    matches: Matches = 3
    filter: Matching = None

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if sum(part is not None for part in (self.text, self.audio, self.vector)) != 1:
            raise ValueError("a search has exactly one of text, audio and vector")
        return self


class SearchOptions(_Closed):
    """The query of a search whose body is a recording: what JSON has beside it."""

    k: Count = 10
    matches: Matches = 3
    filter: str | None = Field(None, max_length=1 << 14, description="As JSON.", examples=['{"speaker": "anna"}'])


class ItemOptions(_Closed):
    """The query of an item whose body is its file."""

    metadata: str = Field("{}", max_length=1 << 15, description="As JSON.", examples=['{"speaker": "anna"}'])


class CollectionAnswer(BaseModel):
    name: str
    dims: int
    distance: Distance
    space_id: str


class CollectionsAnswer(BaseModel):
    collections: list[CollectionAnswer] = Field(description="In order of their names.")


class StatsAnswer(CollectionAnswer):
    items: int
    windows: int = Field(description="Vectors: one or more of each item.")
    pending: int = Field(
        description="Of these, how many are not indexed yet: they may be missed. Always 0 if embedded."
    )


class UpsertAnswer(BaseModel):
    """What is on disk now."""

    items: int
    windows: int


class ItemAnswer(BaseModel):
    id: str
    metadata: dict[str, str | bool | int | float]
    windows: int


class DeleteAnswer(BaseModel):
    deleted: int = Field(description="Items that there were.")


class MatchAnswer(BaseModel):
    """A window that is near: of a recording from start_s to end_s, of a text from char_start to char_end."""

    window: int = Field(description="Which, from 0.")
    score: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None


class HitAnswer(BaseModel):
    id: str
    score: float = Field(
        description="Of the nearest window: cosine, dot product, or minus the Euclidean distance. Higher is nearer."
    )
    metadata: dict[str, str | bool | int | float]
    matches: list[MatchAnswer] = Field(description="Its nearest windows among those looked at, nearest first.")


class SearchAnswer(BaseModel):
    collection: str
    space_id: str
    results: list[HitAnswer] = Field(description="Nearest first.")


class CollectionsLimits(BaseModel):
    max_collections: int
    max_dims: int
    max_items: int = Field(description="Of one request.")
    max_windows: int = Field(description="Of one item.")
    max_results: int
    max_metadata_bytes: int
    max_json_bytes: int
    max_body_bytes: int


class CollectionsDescription(Description):
    """The engine, and what it takes."""

    engine: Literal["qdrant-edge", "milvus"]
    space_id: str | None = Field(description="Of the service's own embeddings; null where it has none.")
    distances: list[Distance]
    operators: list[str] = Field(description="Of filters.")
    limits: CollectionsLimits


EXAMPLES: dict[str, dict[str, Any]] = {
    "create": {
        "own": {"summary": "For what the service embeds", "value": {}},
        "other": {"summary": "For vectors of another model", "value": {"dims": 3, "space_id": "my-model-1"}},
    },
    "upsert": {
        "text": {
            "summary": "Texts, embedded here",
            "value": {"items": [{"id": "note-1", "text": "a dog barks", "metadata": {"lang": "en"}}]},
        },
        "audio": {"summary": "A recording", "value": {"items": [{"id": "clip-1", "audio": _WAV}]}},
    },
    "delete": {
        "ids": {"summary": "By id", "value": {"ids": ["note-1"]}},
        "filter": {"summary": "By metadata", "value": {"filter": {"lang": {"$in": ["en", "de"]}}}},
    },
    "search": {
        "text": {
            "summary": "By a sentence, among some items",
            "value": {"text": "a dog barks", "k": 5, "filter": {"lang": "en"}},
        },
        "audio": {"summary": "By a sound", "value": {"audio": _WAV}},
    },
}
