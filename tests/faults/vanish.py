"""Clients that go away: in the middle of a request, while it is worked on, in the middle of the answer."""

import asyncio
import random
import socket
import struct
from contextlib import suppress

_AT_ONCE = 16  # that are there at the same time


async def vanish(port: int, path: str, body: bytes, count: int, seed: int = 0) -> None:
    """`count` clients, each of which leaves at a point of its own; half of them without closing their connection."""
    chance, places = random.Random(seed), asyncio.Semaphore(_AT_ONCE)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: audio/flac\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body

    async def client(stage: int, share: float, abrupt: bool) -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request[: int(share * len(request))] if stage == 0 else request)
            if stage == 1:  # while it is worked on
                with suppress(TimeoutError):
                    async with asyncio.timeout(share * 0.05):
                        await reader.read(1)
            if stage == 2:
                await reader.read(int(share * 200) + 1)
            if abrupt:  # the connection is reset
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()

    plans = [(chance.randrange(3), chance.random(), chance.random() < 0.5) for _ in range(count)]
    await asyncio.gather(*(client(*plan) for plan in plans), return_exceptions=True)
