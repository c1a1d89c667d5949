"""Connections: what a client can make the server hold before there is a request at all is bounded in bytes and time.

uvicorn waits for the head of a request for ever, and llhttp reads one of any size. From the first byte of a connection,
or the end of an answer, to the end of the next head a client has `header_timeout_s`; bodies have their own bound in
`service.web.body`. A client that takes next to nothing of its answer in `body_timeout_s` is cut off, whether the answer
is still being made or waits in full. Where all connections are taken, the one that has been between requests for
longest makes room: clients that say nothing keep nobody out.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from starlette.exceptions import HTTPException
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.settings import Settings
from service.web.problems import MEDIA_TYPE, problem
from service.web.trace import request_id

_LEAST_TAKEN_BYTES = 4096  # of what waits for a client, each time; all of it where less waits


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, with the bounds."""

    settings: ClassVar[Settings]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0  # of a head or of trailers, as they came, so far
        self._listed_bytes = 0  # the same, as they were understood
        self.waits_since: float | None = None  # for the head of a request; None while one is being answered
        self._patience: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.settings.max_connections:
            waiting = (other for other in self.connections if getattr(other, "waits_since", None) is not None)
            min(cast(Iterable[Connection], waiting), key=lambda other: cast(float, other.waits_since)).give_up()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self.settings.max_header_bytes and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._listed_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._list(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._list(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Also what uvicorn calls for whatever a callback of the parser raises."""
        limit = self.settings.max_header_bytes
        too_large = max(self._head_bytes, self._listed_bytes) > limit
        refusal = (431, f"The head of the request is larger than {limit} bytes.") if too_large else (400, msg)
        self.transport.write(_answer(*refusal))
        self.transport.close()

    def give_up(self) -> None:
        self._stop_waiting()
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()
        if self.cycle is None or self.cycle.response_complete:  # else more is written, or that it is complete is told
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()
        if not self.transport.is_closing() and not self.pipeline and self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self.waits_since = self.loop.time()
        self._patience = self.loop.call_later(self.settings.header_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        self.waits_since = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _watch(self) -> None:
        """Sees that what waits for the client is taken."""
        self._stop_watching()
        if left := self.transport.get_write_buffer_size():
            self._taking = self.loop.call_later(self.settings.body_timeout_s, self._check_taken, left)

    def _check_taken(self, left: int) -> None:
        if self.transport.get_write_buffer_size() > max(0, left - _LEAST_TAKEN_BYTES):
            self.transport.abort()  # closing it would wait for what is not taken
        else:
            self._watch()

    def _stop_watching(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _list(self, size: int) -> None:
        self._listed_bytes += size
        if self._listed_bytes > self.settings.max_header_bytes:
            raise ValueError("the head of the request is too large")


def _answer(status: int, detail: str) -> bytes:
    """A whole answer: there is no request that the application could give one to."""
    body = problem(HTTPException(status, detail), request_id(None))
    content = body.model_dump_json(exclude_none=True).encode()
    head = f"HTTP/1.1 {status} {body.title}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(content)}\r\n"
    return f"{head}X-Request-Id: {body.request_id}\r\nConnection: close\r\n\r\n".encode() + content


def protocol(settings: Settings) -> type[asyncio.Protocol]:
    """What uvicorn is given as `http`."""
    return type("BoundedConnection", (Connection,), {"settings": settings})
