"""`auricle bench` against a service whose behaviour is known, and against the real one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import pytest

from service.cli.bench import Options, run
from service.cli.bench.client import Client, Request
from service.cli.bench.loops import closed_loop, open_loop
from service.cli.bench.tally import Tally
from service.settings import Settings
from tests.api.conftest import on_socket

ASK = Request("ask", "/", b"?", "text/plain")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = (
    b"HTTP/1.1 503 Busy\r\nContent-Type: application/problem+json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'25\r\n{"type":"urn:problem-type:overloaded"\r\n1\r\n}\r\n0\r\n\r\n'
)

BROKEN = OK[:-1]

Answers = Callable[[int], bytes | None]  # to the nth request of the service; None: hangs up, as it does after BROKEN


@asynccontextmanager
async def service(answers: Answers, stall: asyncio.Event | None = None) -> AsyncIterator[str]:
    """An HTTP service that says what it is told to; while `stall` is set to be waited for, nothing."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n?")
                number, asked = asked, asked + 1
                if stall is not None:
                    await stall.wait()
                if (answer := answers(number)) is None:
                    break
                writer.write(answer)
                if answer is BROKEN:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_open_loop_counts_from_when_a_request_was_to_be_sent() -> None:
    stall, tally = asyncio.Event(), Tally(target_s=1)
    async with service(lambda _: OK, stall) as url:
        client = Client(url, None, timeout_s=30)
        asyncio.get_running_loop().call_later(0.5, stall.set)
        await open_loop(client, repeat(ASK), 100, 0.4, lambda _, latency, error: tally.record(latency, error))
        await client.close()
    assert tally.answers.count == 40
    # a generator that waited for the first answer would have seen one long latency, and then 39 short ones
    assert tally.answers.percentile(1) > 0.09
    assert tally.answers.percentile(50) > 0.25
    assert tally.answers.max_s >= 0.45


async def test_closed_loop_waits_for_its_answers() -> None:
    stall, tally = asyncio.Event(), Tally(target_s=1)
    async with service(lambda _: OK, stall) as url:
        client = Client(url, None, timeout_s=30)
        asyncio.get_running_loop().call_later(0.2, stall.set)
        await closed_loop(client, repeat(ASK), 3, 0.1, lambda _, latency, error: tally.record(latency, error))
        await client.close()
    assert tally.answers.count == 3


async def test_errors_are_told_apart_and_idle_connections_may_close() -> None:
    answers = [OK, OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n", 1), BUSY, None]
    async with service(lambda number: answers[number % 4]) as url:
        client = Client(url, "secret", timeout_s=30)
        assert [await client.ask(ASK) for _ in range(4)] == [None, None, "503 overloaded", None]
        await client.close()
    assert "connection" in str(await client.ask(ASK))


async def test_an_answer_that_breaks_off_is_an_error_and_not_asked_for_again() -> None:
    answers = [OK, BROKEN, OK]  # the second one on the connection of the first
    async with service(answers.__getitem__) as url:
        client = Client(url, None, timeout_s=30)
        assert [await client.ask(ASK) for _ in answers] == [None, "connection closed", None]
        await client.close()


async def test_a_service_that_says_nothing_is_given_up() -> None:
    async with service(lambda _: OK, asyncio.Event()) as url:
        client = Client(url, None, timeout_s=0.05)
        assert await client.ask(ASK) == "timeout"
        await client.close()


@pytest.mark.parametrize("rate", [None, 20.0])
async def test_the_real_service_is_loaded_and_reported_on(
    repository: Path, tmp_path: Path, rate: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report.json"
    mix = "tokenize=2,maps=1,text=2,audio=1"
    async with on_socket(Settings(port=0, model_repository=repository, max_queue_s=600)) as client:
        options = Options(str(client.base_url), None, mix, rate, 2, 1.0, 0.1, 60.0, 1000.0, out)
        assert await asyncio.to_thread(run, options) == 0
    report = json.loads(out.read_text())
    assert report["mix"] == {"tokenize": 2, "maps": 1, "text": 2, "audio": 1}
    assert report.get("rate_per_s") == rate
    total = report["workloads"]["all"]
    assert total["errors"] == {}
    assert total["answered"] == total["sent"] > 0
    assert rate is None or total["sent"] == 20
    assert total["answered"] == sum(report["workloads"][name]["answered"] for name in report["mix"])
    assert total["latency_ms"]["p50"] <= total["latency_ms"]["p99.9"] <= total["latency_ms"]["max"]
    assert "p99.9" in capsys.readouterr().out
