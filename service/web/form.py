"""multipart/form-data (RFC 7578), read where it lies: the parts are windows of the spooled body, and none is copied.

What a body can make the gateway hold in memory is bounded by the constants below, whatever its parts claim.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO, Annotated, Any, BinaryIO, TypeVar, cast

from fastapi import Depends
from pydantic import BaseModel

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge, UnsupportedMedia
from service.web.body import Upload
from service.web.deps import UploadDep, WorkDep
from service.web.parsing import check

MAX_PARTS = 1000
MAX_HEADER_BYTES = 1 << 12  # of one part
MAX_FIELD_BYTES = 1 << 16  # of all parts together that are no files
MAX_BOUNDARY_BYTES = 70  # RFC 2046, 5.1.1

_READ_BYTES = 1 << 18
_CUT_SHORT = "the form is cut short: its closing boundary is missing"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `file` is a window of the body: read the parts of a form one after the other."""

    name: str
    content_type: str  # as sent; empty if the client named none
    file: BinaryIO
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Form:
    """The parts, in the order in which they were sent."""

    parts: tuple[Part, ...]

    def files(self, name: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.name == name)

    def fields(self, model: type[M], *files: str) -> M:
        """Every part but those named `files`, as text: a list of its values where a name comes more than once.

        Raises MalformedInput for what is no text, InvalidInput for too much of it and for what `model` does not accept.
        """
        fields = [part for part in self.parts if part.name not in files]
        if sum(part.size for part in fields) > MAX_FIELD_BYTES:
            raise InvalidInput(f"the fields of the form have more than {MAX_FIELD_BYTES} bytes")
        values: dict[str, Any] = {}
        for part in fields:
            values.setdefault(part.name, []).append(_text(part))
        return check(model, {name: texts if len(texts) > 1 else texts[0] for name, texts in values.items()}, "/form")


def read_form(upload: Upload) -> Form:
    """Finds the parts of a body. Raises UnsupportedMedia, MalformedInput and PayloadTooLarge."""
    header = _header("Content-Type", upload.content_type)
    if header.get_content_type() != "multipart/form-data":
        raise UnsupportedMedia("send multipart/form-data (curl -F images=@room.jpg)")
    boundary = str(header.get_param("boundary") or "").encode()
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise MalformedInput("the Content-Type of the form has no boundary, or one that is too long")
    parts = []
    for part in _parts(upload.file, b"\r\n--" + boundary):
        parts.append(part)
        if len(parts) > MAX_PARTS:
            raise PayloadTooLarge(f"the form has more than {MAX_PARTS} parts")
    return Form(tuple(parts))


async def _form(upload: UploadDep, work: WorkDep) -> Form:
    return await work.run("decode", read_form, upload)


FormDep = Annotated[Form, Depends(_form)]


class _Window(io.RawIOBase):
    """The bytes `start` to `stop` of a file, as a file. It begins at `offset` of what `fileno` is the number of."""

    def __init__(self, file: IO[bytes], start: int, stop: int) -> None:
        self._file, self.offset, self._size, self._position = file, start, stop - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        self._file.flush()
        return self._file.fileno()

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._position)
        self._file.seek(self.offset + self._position)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position


def _parts(file: IO[bytes], delimiter: bytes) -> Iterator[Part]:
    file.seek(0)
    opening = delimiter[2:]  # nothing is in front of it, so neither is a line break
    found = 0 if file.read(len(opening)) == opening else _find(file, delimiter, 0) + 2
    after = found + len(opening)
    while True:
        file.seek(after)
        head = file.read(MAX_HEADER_BYTES)
        if head.startswith(b"--"):
            return
        end = head.find(b"\r\n\r\n")
        if end < 0 and len(head) < MAX_HEADER_BYTES:
            raise MalformedInput(_CUT_SHORT)
        if end < 0 or not head.lstrip(b" \t").startswith(b"\r\n"):
            raise MalformedInput(f"a part of the form has no header, or one of more than {MAX_HEADER_BYTES} bytes")
        start = after + end + 4
        stop = _find(file, delimiter, start)
        yield _part(head[:end], file, start, stop)
        after = stop + len(delimiter)


def _find(file: IO[bytes], delimiter: bytes, start: int) -> int:
    """Where the delimiter next begins."""
    file.seek(start)
    kept = b""
    while chunk := file.read(_READ_BYTES):
        window = kept + chunk
        if (index := window.find(delimiter)) >= 0:
            return start + index
        kept = window[1 - len(delimiter) :]
        start += len(window) - len(kept)
    raise MalformedInput(_CUT_SHORT)


def _part(head: bytes, file: IO[bytes], start: int, stop: int) -> Part:
    headers = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    disposition = _header("Content-Disposition", headers.get("content-disposition", ""))
    name = disposition.get_param("name", header="Content-Disposition")
    if disposition.get_content_disposition() != "form-data" or not isinstance(name, str) or not name:
        raise MalformedInput("a part of the form has no name: Content-Disposition: form-data; name=...")
    window = cast(BinaryIO, _Window(file, start, stop))
    return Part(name, headers.get("content-type", ""), window, stop - start)


def _header(name: str, value: str) -> Message:
    message = Message()
    message[name] = value
    return message


def _text(part: Part) -> str:
    try:
        return part.file.read().decode()
    except UnicodeDecodeError as exc:
        raise MalformedInput(f"the form field {part.name[:64]!r} is no text in UTF-8") from exc
