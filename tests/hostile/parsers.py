"""Our own parsers as functions of bytes that may only refuse: what fuzzers call."""

import io
from collections.abc import Callable, Mapping
from typing import Any, cast

from service.errors import ServiceError
from service.media import containers, wav
from service.media.image import _orientation
from service.media.pcm import pcm_format
from service.media.sniff import sniff
from service.models.collections.bodies import from_query, read_filter, read_metadata
from service.models.tokenizer import container
from service.models.tokenizer.schemas import DetokenizeRequest
from service.tensors import from_npz, from_safetensors
from service.web.body import Upload
from service.web.estimate import nominal_s
from service.web.form import read_form
from service.web.negotiation import negotiate
from service.web.parsing import read_json
from tests.hostile.corpus import real
from tests.hostile.mutate import resealed

Parser = Callable[[bytes], Any]


def _containers(data: bytes) -> None:
    if known := sniff(io.BytesIO(data)):
        containers.check(io.BytesIO(data), *known)


def _wav(data: bytes) -> None:
    if sniff(io.BytesIO(data)) == ("wav", 0) and (found := wav.plain(io.BytesIO(data))):
        samples = sum(block.shape[1] for block in found.blocks())
        assert samples * found.channels <= len(data)


def _form(data: bytes) -> None:
    upload = Upload(cast(Any, io.BytesIO(data)), "multipart/form-data; boundary=frontier", len(data))
    for part in read_form(upload).parts:
        assert len(part.file.read()) == part.size <= len(data)


def _container(data: bytes) -> None:
    """Behind the checksum, which a fuzzer does not guess. There is one way to write given tokens."""
    sealed = resealed(data)
    assert container.pack(container.unpack(sealed)) == sealed


def _filter(data: bytes) -> None:
    given = from_query(data.decode("utf-8", "replace"), "filter")
    read_filter(given)


def _metadata(data: bytes) -> None:
    read_metadata(from_query(data.decode("utf-8", "replace"), "metadata"), "/metadata")


def _header(data: bytes) -> None:
    text = data.decode("latin-1").replace("\r", " ").replace("\n", " ")
    negotiate(text, ("audio/wav", "audio/flac"))
    pcm_format(text)
    assert 0 < nominal_s(Upload(cast(Any, io.BytesIO(data)), text, len(data)), 3600) < 1e6


PARSERS: Mapping[str, Parser] = {
    "container": _container,
    "containers": _containers,
    "wav": _wav,
    "npz": lambda data: from_npz(data, max_bytes=1 << 20),
    "safetensors": from_safetensors,
    "form": _form,
    "ids": lambda data: read_json(DetokenizeRequest, cast(Any, io.BytesIO(data)), 1 << 20, 1 << 16),
    "filter": _filter,
    "metadata": _metadata,
    "header": _header,
    "orientation": _orientation,
}

_KINDS = {"container": "tokens", "containers": "audio", "wav": "audio", "npz": "tensors", "safetensors": "tensors"}


def refusing(parser: Parser, data: bytes) -> None:
    """Calls it; whatever it raises but a refusal is a fault, and a refusal is no 5xx."""
    try:
        parser(data)
    except ServiceError as exc:
        if exc.status >= 500:
            raise


def seeds(name: str) -> list[bytes]:
    """Good bytes to begin with."""
    match name:
        case "form" | "ids":
            return [request.body for request in real() if request.kind == {"form": "form", "ids": "json"}[name]]
        case "filter":
            return [b'{"year": {"$gte": 2020}, "$or": [{"lang": "en"}, {"lang": {"$in": ["de", "fr"]}}]}']
        case "metadata":
            return [b'{"lang": "en", "year": 2024, "loud": true, "gain": -0.5}']
        case "header":
            return [
                b"audio/pcm;rate=16000;channels=2;encoding=f32le",
                b"audio/*;q=0.5, audio/wav",
                b"audio/L16;rate=8",
            ]
        case "orientation":
            return [b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"]
    return [request.body for request in real() if request.kind == _KINDS[name]]
