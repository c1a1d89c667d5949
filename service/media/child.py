"""Decodes in a process of its own, for `service.media.decoders`: what crashes here, or grows, takes nothing with it.

The process gets files as open descriptors. A decoder that opens what a file names, another file or a socket, gets
nothing: the limit of descriptors is zero but while one is received. That is the soft limit, and code that took the
process over could raise it again. Its memory is bounded, and so is the time of a core that one file may take: beyond
that the kernel ends it. It knows no settings, no keys and no environment.

A message is two lengths, JSON of the first, and bytes of the second; every request has one answer. Nothing is pickled:
the service believes nothing from here but numbers and errors of its own taxonomy.
"""

import io
import json
import math
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import islice
from pkgutil import walk_packages
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from service.errors import PayloadTooLarge, ServiceError
from service.media.decode import Decoder
from service.media.image import read_view

LENGTHS = struct.Struct("<II")
TOGETHER = 8  # blocks in one answer: a message costs as much as some thousand samples


class Stretch(io.RawIOBase):
    """`size` bytes from `offset` of an open file, at whatever position others read it."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._offset, self._size, self._position = descriptor, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self._size - self._position)
        data = os.pread(self._descriptor, max(0, wanted), self._offset + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class Opened:
    """A recording that is being decoded, and the time of a core that it has taken."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.file, self.cpu_s = file, 0.0
        self.decoder: Decoder | None = None
        self.blocks: Iterator[NDArray[np.float32]] = iter(())

    def close(self) -> None:
        if self.decoder is not None:
            self.decoder.close()
        self.file.close()


class Child:
    """Answers one request after another until the other end is closed."""

    def __init__(self, connection: socket.socket, cpu_s: int) -> None:
        self._connection, self._cpu_s = connection, cpu_s
        self._opened: dict[int, Opened] = {}

    def run(self) -> None:
        while (message := self._receive()) is not None:
            request, descriptor = message
            if request["do"] == "close":
                for number in request["ids"]:
                    self._drop(number)
                self._send({}, b"")
                continue
            opened = self._file(request, descriptor)
            begun = time.process_time()
            _limit(resource.RLIMIT_CPU, math.ceil(begun + self._cpu_s - opened.cpu_s) + 1)
            try:
                answer, payload = getattr(self, f"_{request['do']}")(opened, request)
            except ServiceError as exc:
                answer, payload = {"error": type(exc).__name__, "detail": exc.detail}, b""
            except MemoryError:
                answer = {"error": PayloadTooLarge.__name__, "detail": "it takes too much memory to decode"}
                payload = b""
            opened.cpu_s += time.process_time() - begun
            if "error" in answer or request["do"] == "view":
                self._drop(request["id"])
            self._send(answer, payload)

    def _file(self, request: dict[str, Any], descriptor: int | None) -> Opened:
        if descriptor is not None:
            stretch = Stretch(descriptor, request["offset"], request["size"])
            self._opened[request["id"]] = Opened(io.BufferedReader(stretch, 1 << 16))
        return self._opened[request["id"]]

    def _drop(self, number: int) -> None:
        if opened := self._opened.pop(number, None):
            opened.close()

    def _audio(self, opened: Opened, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        opened.decoder = decoder = Decoder(opened.file, request["name"], request["start"])
        opened.blocks = decoder.blocks()
        known = {"sample_rate": decoder.sample_rate, "channels": decoder.channels, "declared": decoder.declared}
        return known, b""

    def _next(self, opened: Opened, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        blocks = list(islice(opened.blocks, TOGETHER))
        if not blocks:
            return {"shape": None}, b""
        block = np.concatenate(blocks, axis=1)
        return {"shape": block.shape}, block.data.cast("B") if block.size else b""

    def _view(self, opened: Opened, request: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        view = read_view(opened.file, **request["options"])
        answer = {
            "shape": view.pixels.shape,
            "original_from_model": view.original_from_model.tolist(),
            "original_size": view.original_size,
        }
        return answer, np.ascontiguousarray(view.pixels).data.cast("B")

    def _receive(self) -> tuple[dict[str, Any], int | None] | None:
        _limit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        head, descriptors, _, _ = socket.recv_fds(self._connection, LENGTHS.size, 1)
        _limit(resource.RLIMIT_NOFILE, 0)
        if not head:
            return None
        length, _ = LENGTHS.unpack(head)
        request = json.loads(self._connection.recv(length, socket.MSG_WAITALL))
        return request, descriptors[0] if descriptors else None

    def _send(self, answer: dict[str, Any], payload: Any) -> None:
        header = json.dumps(answer).encode()
        self._connection.sendall(LENGTHS.pack(len(header), len(payload)) + header)
        self._connection.sendall(payload)


def _limit(kind: int, soft: int) -> None:
    resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))


def warm() -> None:
    """Imports what is else imported when it is first needed, which is when nothing can be opened any more."""
    for module in walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in ("PIL.MpoImagePlugin", "PIL.TiffImagePlugin", "encodings.latin_1", "encodings.ascii"):
        import_module(name)


def main(descriptor: int, memory_bytes: int, cpu_s: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the parent says when it is over
        signal.signal(number, signal.SIG_IGN)
    warm()
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # this is Linux's own
        begins_with = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (begins_with + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Child(socket.socket(fileno=descriptor), cpu_s).run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
