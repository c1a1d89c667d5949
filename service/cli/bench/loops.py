"""The two ways to load a service, and what each says.

Open loop: requests come at a constant rate, as from a world that does not wait for us. A service that stalls finds them
all waiting, and the latency of each counts from when it was to be sent: nothing is omitted because the generator was
held up too. This is the one that says what users see.

Closed loop: so many clients, each with its next request as soon as it has its answer. It says how much a service can
do, and hides how long it made the others wait.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from service.cli.bench.client import Client, Request

Record = Callable[[str, float, str | None], None]  # workload, latency in seconds, and the kind of error


@dataclass(frozen=True)
class Load:
    """`rate` requests a second, or where that is None, `clients` that wait for their answers."""

    rate: float | None
    clients: int = 1

    async def run(self, client: Client, requests: Iterator[Request], seconds: float, record: Record) -> float:
        """How late a request was sent at worst, in seconds."""
        if self.rate is not None:
            return await open_loop(client, requests, self.rate, seconds, record)
        await closed_loop(client, requests, self.clients, seconds, record)
        return 0.0


async def open_loop(client: Client, requests: Iterator[Request], rate: float, seconds: float, record: Record) -> float:
    """Ends when all of them are answered; the longest time that one was sent late, in seconds: our own fault."""
    clock = asyncio.get_running_loop().time
    start, late = clock(), 0.0

    async def ask(request: Request, due: float) -> None:
        error = await client.ask(request)
        record(request.workload, clock() - due, error)

    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - clock()))
            late = max(late, clock() - due)
            group.create_task(ask(next(requests), due))
    return late


async def closed_loop(
    client: Client, requests: Iterator[Request], clients: int, seconds: float, record: Record
) -> None:
    """Ends when the last of the clients has its answer."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds

    async def ask() -> None:
        while (sent := clock()) < end:
            request = next(requests)
            error = await client.ask(request)
            record(request.workload, clock() - sent, error)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
