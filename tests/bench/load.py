"""Closed-loop load: so many clients, each with its next request as soon as it has its answer.

The client is a few lines over asyncio streams, because it shares the cores with what it measures.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """What a run of closed-loop clients saw."""

    per_s: float
    latencies_ms: list[float]

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.latencies_ms, share))


async def closed_loop(calls: Sequence[Call], duration_s: float) -> Load:
    """One client for each call, for that long; a call that raises ends the benchmark."""
    start = time.perf_counter()
    end = start + duration_s
    latencies: list[float] = []

    async def client(call: Call) -> None:
        while (began := time.perf_counter()) < end:
            await call()
            latencies.append((time.perf_counter() - began) * 1000)

    await asyncio.gather(*(client(call) for call in calls))
    return Load(len(latencies) / (time.perf_counter() - start), latencies)


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, port: int) -> None:
        self.headers: dict[str, str] = {}  # of the last answer, names in lower case
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """The body of the answer. Raises RuntimeError unless it is a 200."""
        if self._streams is None or self._streams[0].at_eof():  # the server ends connections that were idle
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        fields = {"Host": "localhost", "Content-Length": str(len(body))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        answer = await reader.readexactly(int(self.headers["content-length"]))
        if " 200 " not in status:
            raise RuntimeError(f"{status}: {answer[:500]!r}")
        return answer

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()
