"""Bodies to tokens: every form that `/v1/tokenize` answers."""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from service.errors import PayloadTooLarge, UnsupportedMedia
from service.models.tokenizer import container
from service.models.tokenizer.encoders import JSON, NPZ, SAFETENSORS
from service.models.tokenizer.forms import from_fields, from_tensors
from service.models.tokenizer.model import NAME, TokenizerModel
from service.models.tokenizer.schemas import DetokenizeRequest
from service.models.tokenizer.tokens import Tokens
from service.tensors import from_npz, from_safetensors
from service.web.parsing import parse

_MAX_BYTES = 64 << 20  # tokens of an hour in eight channels take 12 MB as npz; the text of JSON a third of this
_MAX_JSON_BYTES = 4 << 20  # parsing it holds the interpreter's lock


def decode_tokens(file: BinaryIO, content_type: str, model: TokenizerModel, max_audio_s: float) -> Tokens:
    """Raises UnsupportedMedia, MalformedInput, InvalidInput, ModelMismatch, PayloadTooLarge."""
    data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise PayloadTooLarge(f"Tokens are read up to {_MAX_BYTES} bytes.")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/octet-stream"):
        media_type = _sniff(data)
    decode = TOKEN_TYPES.get(media_type)
    if decode is None:
        what = media_type or "a body that begins like no form of tokens"
        raise UnsupportedMedia(f"{what} is not read here: {', '.join(TOKEN_TYPES)} are.")
    tokens = decode(data, model)
    tokens.check(model.layout, model.digest, max_audio_s)
    return tokens


def _sniff(data: bytes) -> str:
    """The form that the first bytes are of; empty if of none."""
    beginnings = {container.MAGIC: container.MEDIA_TYPE, b"PK\x03\x04": NPZ}
    for beginning, media_type in beginnings.items():
        if data.startswith(beginning):
            return media_type
    if data[8:9] == b"{" and b"\0" in data[:8]:  # the length of its header comes first, and JSON has no zeros
        return SAFETENSORS
    return JSON if data.lstrip()[:1] == b"{" else ""


def _json(data: bytes, model: TokenizerModel) -> Tokens:
    if len(data) > _MAX_JSON_BYTES:
        raise PayloadTooLarge(f"JSON is read up to {_MAX_JSON_BYTES} bytes; send this many tokens as a container.")
    request = parse(DetokenizeRequest, data)
    options: dict[str, Any] = request.model_dump(exclude={"tokens", "model_digest"})
    return from_fields(
        request.tokens, model.layout, model=NAME, model_digest=request.model_digest or model.digest, **options
    )


def _npz(data: bytes, model: TokenizerModel) -> Tokens:
    return from_tensors(from_npz(data, max_bytes=4 * _MAX_BYTES), model.layout, model=NAME, model_digest=model.digest)


def _safetensors(data: bytes, model: TokenizerModel) -> Tokens:
    return from_tensors(from_safetensors(data), model.layout, model=NAME, model_digest=model.digest)


TOKEN_TYPES: Mapping[str, Callable[[bytes, TokenizerModel], Tokens]] = {
    JSON: _json,
    container.MEDIA_TYPE: lambda data, model: container.unpack(data),
    NPZ: _npz,
    SAFETENSORS: _safetensors,
}
