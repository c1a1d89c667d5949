"""System shared memory with one server: segments that are lent to a request at a time. Knows nothing about requests."""

import asyncio
import logging
import mmap
import os
import uuid
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

logger = logging.getLogger(__name__)

# Where Linux has what POSIX calls shared memory objects; ours are opened with O_EXCL and 0600.
FOLDER = Path("/dev/shm")  # nosec B108
BUDGET = 256 << 20  # bytes with one server; what does not fit goes over gRPC
SMALLEST = 1 << 20
QUARANTINE_S = 60.0  # a server may go on writing into the segment of a request that was given up
CALL_S = 2.0
UNREGISTERED = "Unable to find shared memory region"  # in what a server says that does not know a segment


class Segment:
    """Memory that this process and a server both have. Its name is gone once both do, so that no crash leaves it."""

    def __init__(self, size: int) -> None:
        """Reserves the memory, so that writing to it cannot fail. Raises OSError where there is none."""
        self.name = f"auricle-{uuid.uuid4().hex}"
        self.size = size
        # also where the request that made it was cancelled in the middle
        self.unlink = weakref.finalize(self, (FOLDER / self.name).unlink, missing_ok=True)
        self.registered = False
        self.lost = 0.0  # when its request was given up
        descriptor = os.open(FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
            self._memory = mmap.mmap(descriptor, size)
        except OSError:
            self.unlink()
            raise
        finally:
            os.close(descriptor)

    def view(self, offset: int, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, dtype, count, offset).reshape(shape)


class SharedMemory:
    """Segments that the server was told of. None is lent where the server is elsewhere or does not allow it.

    That a server finds a segment by its name, which is new, proves that it runs on this host.
    """

    def __init__(self, client: InferenceServerClient) -> None:
        self._client = client
        self._segments: dict[str, Segment] = {}
        self._idle: list[Segment] = []
        self._refused = False

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments.values())

    async def lend(self, size: int) -> Segment | None:
        """At least `size` bytes, for one request. None: send it over gRPC."""
        size = max(SMALLEST, 1 << (size - 1).bit_length())
        if self._refused or size > BUDGET:
            return None
        for segment in self._idle:
            if segment.size == size:
                self._idle.remove(segment)
                return segment
        while self._idle and self.size + size > BUDGET:
            await self._forget(self._idle.pop(0))
        return None if self.size + size > BUDGET else await self._make(size)

    def give_back(self, segment: Segment) -> None:
        """For the next request: the server is done with it."""
        if segment.name in self._segments:
            self._idle.append(segment)

    def lose(self, segment: Segment) -> None:
        """The server may still be at work on it: no other request gets it."""
        segment.lost = asyncio.get_running_loop().time()

    async def sweep(self) -> None:
        """Frees what was lost long ago."""
        limit = asyncio.get_running_loop().time() - QUARANTINE_S
        for segment in [segment for segment in self._segments.values() if 0 < segment.lost < limit]:
            await self._forget(segment)

    async def renew(self) -> None:
        """Forgets what the server does not know, because it was started anew; it is asked for again."""
        known: set[str] = set()
        with suppress(InferenceServerException):
            status = await self._client.get_system_shared_memory_status(client_timeout=CALL_S)
            known = set(status.regions)
        self._refused = False
        self._segments = {
            name: segment for name, segment in self._segments.items() if name in known or not segment.registered
        }
        self._idle = [segment for segment in self._idle if segment.name in known]

    async def close(self) -> None:
        """Leaves nothing with a server that answers."""
        await asyncio.gather(*(self._forget(segment) for segment in list(self._segments.values())))

    async def _make(self, size: int) -> Segment | None:
        try:
            segment = await asyncio.to_thread(Segment, size)
        except OSError as exc:
            logger.warning("no shared memory of %d bytes: %s", size, exc)
            return None
        if self.size + size > BUDGET:  # others were made meanwhile
            return None
        self._segments[segment.name] = segment
        try:
            await self._client.register_system_shared_memory(
                segment.name, f"/{segment.name}", size, client_timeout=CALL_S
            )
        except InferenceServerException as exc:
            del self._segments[segment.name]
            self._refused = True
            logger.info("no shared memory with this Triton server, all goes over gRPC: %s", exc)
            return None
        except BaseException:  # the caller has gone, and the server may have been told
            self.lose(segment)
            raise
        finally:
            segment.unlink()
        segment.registered = True
        return segment

    async def _forget(self, segment: Segment) -> None:
        self._segments.pop(segment.name, None)
        with suppress(InferenceServerException):
            await self._client.unregister_system_shared_memory(segment.name, client_timeout=CALL_S)
