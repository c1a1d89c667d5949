"""Bodies: bounded in bytes and in time while they arrive, and spooled to disk when they are large."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import MalformedInput, Overloaded, PayloadTooLarge, on_disk

SPOOL_BYTES = 1 << 20  # a body up to this size stays in memory
_READ_BYTES = 1 << 16

# The rest of a refused body is not read, so the connection cannot serve another request.
_CLOSE = {"Connection": "close"}

# What `curl --data-binary` says of any file unless it is told otherwise: it names no type.
_CURL_DEFAULT = "application/x-www-form-urlencoded"


@asynccontextmanager
async def within(deadline: float, detail: str) -> AsyncIterator[None]:
    """Raises 408 when the client has not done its part by `deadline`, an absolute time of the loop's clock."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise HTTPException(408, detail, _CLOSE) from None


class BodyLimit:
    """Refuses a body by its Content-Length before reading any of it, then by what has really come, then by time."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        received, complete = 0, False
        deadline: float | None = None

        async def limited() -> Message:
            nonlocal received, complete, deadline
            if complete:
                return await receive()
            if not (declared.isascii() and declared.isdigit()):
                raise HTTPException(400, "Content-Length is not a number.", _CLOSE)
            self._check(int(declared))
            deadline = deadline or asyncio.get_running_loop().time() + self.timeout_s
            async with within(deadline, f"The body did not arrive within {self.timeout_s:g} s."):
                message = await receive()
            received += len(message.get("body", b""))
            self._check(received)
            complete = not message.get("more_body", False)
            return message

        await self.app(scope, limited, send)

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            # Not the taxonomy's own class: the framework turns unknown errors while it reads a body into a 400.
            raise HTTPException(PayloadTooLarge.status, f"The body is larger than {self.max_bytes} bytes.", _CLOSE)


class Room:
    """What all spooled files may take together, in memory and on disk. For several threads."""

    def __init__(self, max_bytes: int) -> None:
        self.used, self._max, self._lock = 0, max_bytes, threading.Lock()

    def take(self, size: int) -> None:
        """Raises Overloaded where there is not so much room; gives it back where `size` is negative."""
        with self._lock:
            if size > 0 and self.used + size > self._max:
                raise Overloaded("the bodies of other requests take all the room that there is for them")
            self.used += size


class Spool(SpooledTemporaryFile[bytes]):
    """A file that may be closed while a thread still writes to it, as happens where a client goes away.

    The base class opens its file on disk while it is written to; closed in between, it would leave that one open.
    """

    def __init__(self, room: Room) -> None:
        super().__init__(max_size=SPOOL_BYTES)
        self._room, self._taken, self._lock = room, 0, threading.RLock()

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Raises Overloaded where others take all the room, StorageFull where the disk has none."""
        with self._lock:
            end = self.tell() + memoryview(data).nbytes
            self._room.take(more := max(0, end - self._taken))
            self._taken += more
            with on_disk():
                written = super().write(data)
                self.flush()  # else it may be told to who reads
                return written

    def fileno(self) -> int:
        """Raises UnsupportedOperation for what is in memory, which need not go to disk to be handed over."""
        if isinstance(self._file, io.BytesIO):
            raise io.UnsupportedOperation("the file is in memory")
        return super().fileno()

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self._room.take(-self._taken)
            with suppress(OSError):  # of what was still to be written, and is not wanted any more
                super().close()

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Upload:
    """A raw body that has arrived in full."""

    file: BinaryIO
    content_type: str  # as sent, parameters included; empty if the client named none
    size: int  # bytes


async def upload(request: Request) -> AsyncIterator[Upload]:
    """Dependency: the raw body in a file that lives as long as the request.

    Raises MalformedInput if it is empty, and Overloaded or StorageFull where there is no room for it.
    """
    with Spool(request.app.state.runtime.room) as file:
        size, pending = 0, bytearray()
        async for chunk in request.stream():
            size += len(chunk)
            pending += chunk
            if len(pending) >= SPOOL_BYTES:
                await asyncio.to_thread(file.write, pending)  # goes to disk, which may be slow
                pending = bytearray()
        file.write(pending)
        file.seek(0)
        if not size:
            raise MalformedInput("The request has no body.")
        content_type = request.headers.get("content-type", "")
        if content_type == _CURL_DEFAULT:
            content_type = ""
        found = Upload(cast(BinaryIO, file), content_type, size)
        request.state.upload = found  # for what asks how large the request is, if it has a body at all
        yield found


async def scratch(request: Request) -> AsyncIterator[BinaryIO]:
    """Dependency: a file to write a large answer into; it lives until the answer is sent."""
    with Spool(request.app.state.runtime.room) as file:
        yield cast(BinaryIO, file)


def stream(file: BinaryIO, media_type: str) -> StreamingResponse:
    """Answers with a whole file."""
    size = file.seek(0, 2)
    file.seek(0)
    chunks = iter(lambda: file.read(_READ_BYTES), b"")
    return StreamingResponse(chunks, media_type=media_type, headers={"Content-Length": str(size)})
