"""Clients that vanish at random points, and what they leave behind: `python -m tests.bench.disconnects`.

The real gateway over the real tritonserver with shared memory for all tensors. Counted when the gateway is idle, each
time that as many clients again have vanished: what was held the last time was held before. The processes that decode
are counted with it, as what was sent is open there too. Memory that is shared is kept for the next request, as much as
was ever lent at once, so that it may grow until chance has brought the most.
"""

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.backends.triton.shared_memory import FOLDER
from tests import sounds, tiny
from tests.bench.gateway import gateway
from tests.bench.load import Connection
from tests.bench.process import holdings
from tests.faults.vanish import vanish
from tests.tritonserver.server import TritonServer
from tests.until import until

_TIMES = 4
_IDLE = ("auricle_requests_in_flight 1.0", 'auricle_queue_depth{model="tokenizer_encoder"} 0.0')


def main(clients: Annotated[int, typer.Option(help="Clients that vanish, each time.")] = 1000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "work").mkdir()
        repository = tiny.build(Path(folder) / "models")
        server = TritonServer(repository, Path(folder) / "work")
        server.start()
        try:
            with gateway(repository, server.url, AURICLE_TRITON_SHARED_MEMORY="1") as port:
                grown = asyncio.run(_measure(port, _gateway_pid(), clients))
        finally:
            server.kill()
    raise typer.Exit(1 if grown else 0)


async def _measure(port: int, pid: int, clients: int) -> bool:
    body, connection = sounds.encoded(sounds.clip(), "flac"), Connection(port)

    async def tokens() -> bytes:
        return await connection.request("POST", "/v1/tokenize", body, Content_Type="audio/flac")

    async def metrics() -> str:
        return (await connection.request("GET", "/metrics")).decode()

    async def idle() -> bool:
        lines = (await metrics()).splitlines()
        return all(line in lines for line in _IDLE)

    async def held() -> dict[str, float]:
        processes = holdings(pid)
        counts: dict[str, float] = {
            "open descriptors": processes.files,
            "threads": processes.threads,
            "names in /dev/shm": _entries(FOLDER, "auricle-*"),
        }
        text = await metrics()
        for metric in ("auricle_triton_outstanding", "auricle_shared_memory_bytes"):
            counts[metric] = sum(map(float, re.findall(rf"^{metric}{{[^}}]*}} (\S+)", text, re.M)))
        return counts

    right = await tokens()
    counts = []
    for seed in range(_TIMES):
        await vanish(port, "/v1/tokenize", body, clients, seed)
        await until(idle)
        await asyncio.sleep(2)  # the last connections close after their requests
        counts.append(await held())
    table = Table("held after so many vanished", *(str(clients * (time + 1)) for time in range(_TIMES)))
    for what in counts[0]:
        table.add_row(what, *(f"{count[what]:g}" for count in counts))
    answers = {await tokens() for _ in range(20)}
    Console().print(table)
    Console().print(f"answers afterwards: {'the same' if answers == {right} else 'OTHERS'}")
    *earlier, last = counts
    return answers != {right} or any(last[what] > max(count[what] for count in earlier) for what in last)


def _entries(folder: str | Path, pattern: str = "*") -> float:
    return float(len(list(Path(folder).glob(pattern))))


def _gateway_pid() -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    (pid,) = (int(child) for child in children if b"serve" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"))
    return pid


if __name__ == "__main__":
    typer.run(main)
