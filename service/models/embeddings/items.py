"""What `/v1/embeddings` was asked to embed: OpenAI's forms of `input` to texts, token ids and recordings."""

import base64
import binascii
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from service.errors import InvalidInput, MalformedInput, ModelNotFound, PayloadTooLarge, ServiceError
from service.media.audio import AudioStream
from service.media.decoders import Decoders
from service.models.embeddings.model import NAME, EmbeddingModel
from service.models.embeddings.schemas import MAX_ITEMS, AudioItem, EmbeddingsRequest, InputAudioItem, TextItem
from service.web.parsing import check, parse

MAX_JSON_BYTES = 16 << 20
MAX_MARKS = 1 << 19  # a value of JSON takes up to a hundred times its text in memory

_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*);base64,", re.ASCII)
_SPACE = str.maketrans("", "", " \t\r\n")
_FORMS = 'a string, token ids, {"audio": <base64>}, or a content part of type input_audio or text'


@dataclass(frozen=True)
class Sound:
    """A recording in base64."""

    data: str
    content_type: str

    def open(self, decoders: Decoders, max_audio_s: float) -> AudioStream:
        """Raises MalformedInput for what is no base64, and what `Decoders.open_audio` does."""
        try:
            data = base64.b64decode(self.data.translate(_SPACE), validate=True)
        except (binascii.Error, ValueError) as exc:
            raise MalformedInput("the recording is no base64") from exc
        return decoders.open_audio(io.BytesIO(data), self.content_type, max_audio_s=max_audio_s)


Item = str | list[int] | Sound


def read_request(file: BinaryIO, model: EmbeddingModel) -> tuple[EmbeddingsRequest, list[Item]]:
    """A body, and the items of its `input`.

    Raises PayloadTooLarge, MalformedInput, ModelNotFound, and InvalidInput naming what is not accepted.
    """
    data = file.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:
        raise PayloadTooLarge(f"JSON is read up to {MAX_JSON_BYTES} bytes; long recordings go to /v1/audio/embeddings")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_MARKS:
        raise PayloadTooLarge(f"the JSON has more than {MAX_MARKS} commas and brackets; send fewer items at a time")
    request = parse(EmbeddingsRequest, data)
    return request, _items(request, model)


@contextmanager
def about(index: int, root: str = "input") -> Iterator[None]:
    """Says of which item an error is; `root` is the field that the items came in."""
    try:
        yield
    except ServiceError as exc:
        fault = {"pointer": f"/{root}/{index}", "detail": exc.detail}
        raise type(exc)(f"{root} {index}: {exc.detail}", errors=[fault]) from exc


def _items(request: EmbeddingsRequest, model: EmbeddingModel) -> list[Item]:
    if request.model != NAME:
        raise ModelNotFound(f"there is no model {request.model[:64]!r} to embed with; there is {NAME}")
    if request.dimensions not in (None, model.dims):
        raise _refused(f"the vectors have {model.dims} dimensions and are not trained to be cut short", "/dimensions")
    given = request.input
    if not isinstance(given, list) or _are_ids(given):
        return [_item(given, "/input", request, model)]
    if not 1 <= len(given) <= MAX_ITEMS:
        raise _refused(f"input has {len(given)} items; accepted are 1 to {MAX_ITEMS}", "/input")
    return [_item(item, f"/input/{index}", request, model) for index, item in enumerate(given)]


def _item(given: Any, pointer: str, request: EmbeddingsRequest, model: EmbeddingModel) -> Item:
    if isinstance(given, str):
        found = _DATA_URI.match(given)
        item: Item = Sound(given[found.end() :], found[1]) if found else given
    elif isinstance(given, list) and _are_ids(given):
        item = _ids(given, pointer, request, model)
    elif isinstance(given, dict):
        item = _object(given, pointer)
    else:
        raise _refused(f"accepted are {_FORMS}", pointer)
    if item == "":
        raise _refused("the text is empty", pointer)
    return item


def _are_ids(given: Sequence[Any]) -> bool:
    return bool(given) and all(type(item) is int for item in given)  # True is an int too


def _ids(ids: list[int], pointer: str, request: EmbeddingsRequest, model: EmbeddingModel) -> list[int]:
    if request.tokenizer != model.text.tokenizer_sha256:
        raise _refused(
            "token ids are only read with `tokenizer`, which says whose they are: those of another vocabulary would be "
            "embedded as another text. Send the text itself (LangChain: check_embedding_ctx_length=False)",
            pointer,
        )
    return ids


def _object(given: Mapping[str, Any], pointer: str) -> Item:
    if given.get("type") == "input_audio":
        return _sound(check(InputAudioItem, given, pointer).input_audio.data)
    if "audio" in given:
        return _sound(check(AudioItem, given, pointer).audio)
    if "text" in given:
        return check(TextItem, given, pointer).text
    raise _refused(f"accepted are {_FORMS}; nothing is fetched from a URL", pointer)


def _sound(data: str) -> Sound:
    found = _DATA_URI.match(data)
    return Sound(data[found.end() :], found[1]) if found else Sound(data, "application/octet-stream")


def _refused(detail: str, pointer: str) -> InvalidInput:
    return InvalidInput(f"{pointer}: {detail}", errors=[{"pointer": pointer, "detail": detail}])
