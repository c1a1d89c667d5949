"""An HTTP/1.1 client of few lines, because it shares its core with what it measures, often the whole machine."""

import asyncio
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

_READ_BYTES = 1 << 18


@dataclass(frozen=True)
class Request:
    """One kind of thing to ask; `workload` is the name that it is counted under."""

    workload: str
    path: str
    body: bytes
    content_type: str


class Answer:
    """Filled by its parser, which calls the methods by name."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.begun, self.complete, self.keep_alive = False, False, False
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self.begun = True
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete, self.keep_alive = True, self._parser.should_keep_alive()

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    @property
    def error(self) -> str | None:
        """None for success; else the status and the slug of the problem: `503 overloaded`."""
        if self.status < 400:
            return None
        return f"{self.status} {self._problem('type').rpartition(':')[2]}".strip()

    @property
    def detail(self) -> str:
        return self._problem("detail")

    def _problem(self, member: str) -> str:
        try:
            return str(json.loads(self.body).get(member, ""))
        except (ValueError, AttributeError):
            return ""


class Client:
    """Kept-alive connections to one service, as many as there are requests at once."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float) -> None:
        """Raises ValueError where `url` is not http(s)://host[:port]."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not http(s)://host:port")
        tls = parts.scheme == "https"
        self._address: dict[str, Any] = {
            "host": parts.hostname,
            "port": parts.port or (443 if tls else 80),
            "ssl": ssl.create_default_context() if tls else None,
        }
        self._prefix = parts.path.rstrip("/")
        self._head = f"Host: {parts.netloc.rpartition('@')[2]}\r\n"
        if api_key:
            self._head += f"Authorization: Bearer {api_key}\r\n"
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    async def ask(self, request: Request) -> str | None:
        """None for success, else the kind of error. Never raises."""
        try:
            return (await self.answer(request)).error
        except TimeoutError:
            return "timeout"
        except OSError as exc:
            return f"connection: {exc.strerror or type(exc).__name__}"
        except asyncio.IncompleteReadError:
            return "connection closed"
        except HttpParserError:
            return "no HTTP"

    async def answer(self, request: Request) -> Answer:
        """Raises TimeoutError, OSError, IncompleteReadError where the answer breaks off, and HttpParserError."""
        async with asyncio.timeout(self._timeout_s):
            while self._idle:
                answer = Answer()
                try:
                    return await self._exchange(self._idle.pop(), request, answer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    if answer.begun:
                        raise
                    # else the service has closed it while it was idle, which is its right
            connection = _Connection(*await asyncio.open_connection(**self._address))
            return await self._exchange(connection, request, Answer())

    async def close(self) -> None:
        while self._idle:
            connection = self._idle.pop()
            connection.writer.close()
            with suppress(OSError):
                await connection.writer.wait_closed()

    async def _exchange(self, connection: "_Connection", request: Request, answer: Answer) -> Answer:
        fields = f"{self._head}Content-Type: {request.content_type}\r\nContent-Length: {len(request.body)}\r\n\r\n"
        head = f"POST {self._prefix}{request.path} HTTP/1.1\r\n{fields}"
        try:
            await connection.exchange(head.encode() + request.body, answer)
        except BaseException:
            connection.writer.transport.abort()
            raise
        if answer.keep_alive:
            self._idle.append(connection)
        else:
            connection.writer.close()
        return answer


@dataclass(frozen=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, data: bytes, answer: Answer) -> None:
        self.writer.write(data)  # not drained: a service that refuses may answer before it has read all of it
        while not answer.complete:
            received = await self.reader.read(_READ_BYTES)
            if not received:
                raise asyncio.IncompleteReadError(b"", None)
            answer.feed(received)
