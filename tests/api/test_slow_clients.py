"""Clients that say little, slowly, or far too much before there is a request: none of them holds the server up."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.api.conftest import on_socket, running
from tests.until import until

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def settings(repository: Path) -> Settings:
    return Settings(port=0, model_repository=repository, max_header_bytes=4096)


@pytest.fixture
def impatient(settings: Settings) -> Settings:
    return settings.model_copy(update={"header_timeout_s": 0.3})


@asynccontextmanager
async def socket_to(client: httpx.AsyncClient) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize(
    "begins", [b"", b"G", b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nX-Slow: a", LIVEZ + b"GET /livez HTT"]
)
async def test_a_head_that_does_not_arrive_in_time_closes_the_connection(impatient: Settings, begins: bytes) -> None:
    async with on_socket(impatient) as client, asyncio.timeout(30), socket_to(client) as (reader, writer):
        writer.write(begins)
        answer = await reader.read()
        assert answer.count(b"HTTP/1.1 200 OK") == begins.count(LIVEZ)


async def test_a_head_that_trickles_is_closed_although_something_always_comes(impatient: Settings) -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)  # a slow client is what is tested

    slow = impatient.model_copy(update={"max_header_bytes": 1 << 20})
    async with on_socket(slow) as client, asyncio.timeout(30), socket_to(client) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\n")
        trickling = asyncio.create_task(trickle(writer))
        try:
            assert await reader.read() == b""
        except ConnectionResetError:
            pass
        finally:
            trickling.cancel()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX-Large: " + b"a" * 5000,
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
        b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 2000,
    ],
    ids=["a long line", "a long field", "many fields", "many trailers"],
)
async def test_a_head_that_is_too_large_is_refused_while_it_comes(settings: Settings, head: bytes) -> None:
    async with on_socket(settings) as client, asyncio.timeout(30), socket_to(client) as (reader, writer):
        writer.write(head)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"urn:problem-type:request-header-fields-too-large" in answer
        assert (await client.get("/livez")).status_code == 200


async def test_what_is_no_http_is_a_problem_too(settings: Settings) -> None:
    async with on_socket(settings) as client, asyncio.timeout(30), socket_to(client) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"urn:problem-type:bad-request" in answer


async def test_bodies_and_many_requests_of_one_connection_are_no_heads(settings: Settings) -> None:
    body = bytes(100_000)
    head = b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with on_socket(settings) as client, asyncio.timeout(60), socket_to(client) as (reader, writer):
        for _ in range(5):
            writer.write(head + body)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 415 ")
            assert b"urn:problem-type:unsupported-media" in await reader.readuntil(b"}")
        for _ in range(100):
            writer.write(LIVEZ)
        for _ in range(100):
            await reader.readuntil(b'"live"}')


async def test_clients_that_say_nothing_make_room_for_one_that_does(settings: Settings) -> None:
    patient = settings.model_copy(update={"header_timeout_s": 600.0, "max_connections": 20})
    async with on_socket(patient) as client, asyncio.timeout(60):
        silent = [await asyncio.open_connection(client.base_url.host, client.base_url.port) for _ in range(60)]
        assert (await client.get("/livez")).status_code == 200
        with suppress(ConnectionResetError):
            assert await silent[0][0].read() == b""  # the ones that were silent for longest are gone
        for _, writer in silent:
            writer.close()


async def test_a_refused_upload_that_goes_on_for_ever_is_cut_off(impatient: Settings, tmp_path: Path) -> None:
    """Its answer is given; what is still to come of its body keeps the connection no longer than a head may."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    locked = impatient.model_copy(update={"api_keys_file": keys})
    async with on_socket(locked) as client, asyncio.timeout(30), socket_to(client) as (reader, writer):
        writer.write(b"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nRIFF")
        assert (await reader.read()).startswith(b"HTTP/1.1 401 ")


async def taken_by(connections: int, client: httpx.AsyncClient, request: bytes) -> list[socket.socket]:
    """Sockets that have sent `request` and read nothing of what comes."""
    loop, sockets = asyncio.get_running_loop(), []
    for _ in range(connections):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.setblocking(False)
        await loop.sock_connect(sock, (client.base_url.host, client.base_url.port))
        await loop.sock_sendall(sock, request)
        sockets.append(sock)
    return sockets


ASSET = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_",
    [ASSET + b"\r\n", ASSET + b"Connection: close\r\n\r\n", (ASSET + b"\r\n") * 3, LIVEZ * 10 + ASSET + b"\r\n"],
    ids=["kept", "closed", "pipelined", "behind others"],
)
async def test_clients_that_take_nothing_of_their_answer_are_cut_off(impatient: Settings, request_: bytes) -> None:
    few = impatient.model_copy(update={"body_timeout_s": 0.3, "header_timeout_s": 600.0, "max_connections": 20})
    async with running(few) as (server, client), asyncio.timeout(60):
        greedy = await taken_by(30, client, request_)
        await until(lambda: not server.server_state.connections and not server.server_state.tasks)
        assert (await client.get("/livez")).status_code == 200
        for sock in greedy:
            sock.close()


async def test_a_slow_client_that_goes_on_taking_gets_all_of_its_answer(impatient: Settings) -> None:
    slow = impatient.model_copy(update={"body_timeout_s": 0.5})
    async with running(slow) as (_, client), asyncio.timeout(60):
        (sock,) = await taken_by(1, client, ASSET + b"Connection: close\r\n\r\n")
        loop, size = asyncio.get_running_loop(), 0
        while chunk := await loop.sock_recv(sock, 1 << 14):
            size += len(chunk)
            await asyncio.sleep(0.01)  # a slow client is what is tested
        sock.close()
    assert size > 1_000_000
