"""What a gateway under load does when its servers break: `python -m tests.bench.faults`.

The real gateway over the real tritonserver, with models of a few nodes. Every answer is compared with the one from
before. One gateway lives through all faults of one server, a second one through those of two. What must hold: no wrong
answer, none later than the deadline and a second, recovery within 5 s of when the server can be used again; and no
failure at all where another server can take what one loses.
"""

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from tritonclient.grpc.aio import InferenceServerClient

from tests import sounds, tiny
from tests.bench.gateway import gateway
from tests.bench.load import Connection
from tests.faults.load import Judged, clients
from tests.tritonserver.server import TritonServer

QUIET_S = 2.0  # of undisturbed load before the fault and after it
RECOVERY_S = 5.0


@dataclass
class Scene:
    """Servers, and the gateway in front of them."""

    servers: list[TritonServer]
    port: int


Fault = Callable[[Scene], Coroutine[None, None, float]]  # does it, undoes it; returns when the server was back


async def killed(scene: Scene) -> float:
    await asyncio.to_thread(scene.servers[0].kill)
    await asyncio.sleep(2)
    await _returned(scene.servers[0])
    return time.monotonic()


async def frozen(scene: Scene) -> float:
    scene.servers[0].freeze()
    await asyncio.sleep(10)
    scene.servers[0].thaw()
    return time.monotonic()


async def silent(scene: Scene) -> float:
    """Somebody else has the port, accepts and says nothing."""
    server = scene.servers[0]
    await asyncio.to_thread(server.kill)
    with socket.create_server(("127.0.0.1", server.grpc_port)):
        await asyncio.sleep(10)
    await _returned(server)
    return time.monotonic()


async def lost_model(scene: Scene) -> float:
    async with InferenceServerClient(scene.servers[0].url) as client:
        await client.unload_model("tokenizer_encoder")
        await asyncio.sleep(5)
        await client.load_model("tokenizer_encoder")
    return time.monotonic()


async def _returned(server: TritonServer) -> None:
    server.launch()
    await asyncio.to_thread(server.wait_ready, 180.0)  # the clients go on meanwhile


# name, servers, what happens, whether every request must succeed
FAULTS: list[tuple[str, int, Fault, bool]] = [
    ("kill -9, restart", 1, killed, False),
    ("SIGSTOP for 10 s", 1, frozen, False),
    ("port accepts, never answers", 1, silent, False),
    ("model unloaded for 5 s", 1, lost_model, False),
    ("one of two: kill -9, restart", 2, killed, True),
    ("one of two: SIGSTOP for 10 s", 2, frozen, False),
    ("one of two: port never answers", 2, silent, True),
    ("one of two: model unloaded", 2, lost_model, True),
]


def main(
    only: Annotated[str, typer.Option(help="Part of the names of the faults to try.")] = "",
    num_clients: Annotated[int, typer.Option("--clients", help="Clients, each with one request at a time.")] = 8,
    deadline_s: Annotated[float, typer.Option(help="The gateway's deadline.")] = 5.0,
) -> None:
    table = Table(title=f"{num_clients} clients, deadline {deadline_s:g} s")
    for column in ("fault", "requests", "wrong", "failures by kind", "longest s", "recovery s", "holds"):
        table.add_column(column, justify="left" if column in ("fault", "failures by kind") else "right")
    holds = True
    for count in (1, 2):
        faults = [(name, fault, spotless) for name, of, fault, spotless in FAULTS if of == count and only in name]
        if not faults:
            continue
        with tempfile.TemporaryDirectory() as folder, _scene(Path(folder), count, deadline_s) as scene:
            for name, fault, spotless in faults:
                judged, returned = asyncio.run(_try(scene, fault, num_clients))
                kinds = ", ".join(f"{number} {kind}" for kind, number in judged.failures.most_common()) or "none"
                recovery_s = judged.recovery_s(returned)
                held = (
                    judged.count("wrong") == judged.count("no answer") == 0
                    and judged.longest_s <= deadline_s + 1
                    and recovery_s <= RECOVERY_S
                    and not (spotless and judged.failures)
                )
                holds = holds and held
                figures = [f"{judged.longest_s:.1f}", f"{recovery_s:.1f}", "yes" if held else "NO"]
                row = [name, str(len(judged.attempts)), str(judged.count("wrong")), kinds, *figures]
                Console(stderr=True).print("  ".join(row))
                table.add_row(*row)
    Console().print(table)
    raise typer.Exit(0 if holds else 1)


async def _try(scene: Scene, fault: Fault, num_clients: int) -> tuple[Judged, float]:
    body = sounds.encoded(sounds.clip(), "flac")

    async def ask(connection: Connection) -> bytes:
        return await connection.request("POST", "/v1/tokenize", body, Content_Type="audio/flac")

    right = await ask(Connection(scene.port))
    async with clients(scene.port, [(ask, right)] * num_clients) as judged:
        await asyncio.sleep(QUIET_S)
        returned = await fault(scene)
        await asyncio.sleep(RECOVERY_S + QUIET_S)
    return judged, returned


@contextmanager
def _scene(folder: Path, count: int, deadline_s: float) -> Iterator[Scene]:
    repository = tiny.build(folder / "models")
    servers = []
    try:
        for number in range(count):
            (folder / str(number)).mkdir()
            servers.append(TritonServer(repository, folder / str(number)))
            servers[-1].start()
        urls = ",".join(server.url for server in servers)
        with gateway(repository, urls, AURICLE_DEADLINE_S=str(deadline_s)) as port:
            yield Scene(servers, port)
    finally:
        for server in servers:
            server.kill()


if __name__ == "__main__":
    typer.run(main)
