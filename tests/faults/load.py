"""Clients that go on asking, and judge every answer: right, wrong, a named failure, or none in time."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bench.load import Connection

PATIENCE_S = 60.0  # a request with no answer by then has none
_SLUG = re.compile(rb"urn:problem-type:([\w-]+)")

Ask = Callable[[Connection], Awaitable[bytes]]


@dataclass
class Attempt:
    began: float
    ended: float
    outcome: str  # "right", "wrong", "no answer", or the slug of a problem


@dataclass
class Judged:
    """All attempts of a run, by `time.monotonic`."""

    attempts: list[Attempt] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        return sum(attempt.outcome == outcome for attempt in self.attempts)

    @property
    def failures(self) -> Counter[str]:
        return Counter(a.outcome for a in self.attempts if a.outcome not in ("right", "wrong"))

    @property
    def longest_s(self) -> float:
        return max(attempt.ended - attempt.began for attempt in self.attempts)

    def recovery_s(self, returned: float) -> float:
        """From then to the first right answer, or to the last failure after it, whichever is later."""
        after = [attempt for attempt in self.attempts if attempt.ended >= returned]
        first = min((attempt.ended for attempt in after if attempt.outcome == "right"), default=float("inf"))
        last = max((attempt.ended for attempt in after if attempt.outcome != "right"), default=returned)
        return max(first, last) - returned


@asynccontextmanager
async def clients(port: int, asks: Sequence[tuple[Ask, bytes]], pause_s: float = 0.0) -> AsyncIterator[Judged]:
    """One client for each pair of a question and its right answer, until the block ends; each waits for its answers."""
    judged, over = Judged(), asyncio.Event()

    async def client(ask: Ask, right: bytes) -> None:
        connection = Connection(port)
        while not over.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    outcome = "right" if await ask(connection) == right else "wrong"
            except RuntimeError as exc:  # any status but 200
                found = _SLUG.search(str(exc).encode())
                outcome = found[1].decode() if found else str(exc)[:60]
            except (OSError, EOFError, TimeoutError):
                outcome, connection = "no answer", Connection(port)
            judged.attempts.append(Attempt(began, time.monotonic(), outcome))
            if outcome != "right":  # a client that is refused at once does not come back at once
                await asyncio.sleep(0.05)
            await asyncio.sleep(pause_s)
        await connection.close()

    running = [asyncio.create_task(client(ask, right)) for ask, right in asks]
    try:
        yield judged
    finally:
        over.set()
        await asyncio.gather(*running)
