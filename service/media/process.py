"""One process that decodes, from this side: its start, its end, and what is said in between."""

import array
import io
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from service.errors import ServiceError
from service.media.child import LENGTHS

_PATIENCE_S = 60.0  # on top of what the kernel counts: a process that waits takes no time of a core
_PARTING_S = 1.0
_COPY_BYTES = 1 << 20
_ERRORS = {error.__name__: error for error in ServiceError.__subclasses__()}


class Died(Exception):
    """The process ended. `mine`: while it worked on this very request."""

    def __init__(self, mine: bool, number: int) -> None:
        super().__init__()
        self.mine, self.number = mine, number


class Process:
    """One process and this end of its connection. For several threads: it does one request at a time."""

    def __init__(self, memory_bytes: int, cpu_s: int) -> None:
        self.opened = 0  # files; counted by `Decoders`
        self._wait_s = cpu_s + _PATIENCE_S
        self._lock = threading.Lock()
        self._forgotten: deque[int] = deque()
        self._owed = 0  # answers that nobody waited for: to what was forgotten
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(self._wait_s)
        command = [sys.executable, "-m", "service.media.child", *map(str, (theirs.fileno(), memory_bytes, cpu_s))]
        with theirs:
            # no secret of the environment is there to be read; and one thread is enough
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={"PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def call(self, request: dict[str, Any], descriptor: int | None = None) -> tuple[dict[str, Any], bytearray]:
        """The answer and its bytes. Raises Died, and what the answer is an error of."""
        try:
            with self._lock:
                answer, payload = self._exchange(request, descriptor)
        finally:
            self._tidy()
        if "error" in answer:
            raise _ERRORS[answer["error"]](answer["detail"])
        return answer, payload

    def forget(self, number: int) -> None:
        """Closes a file, at once or when the request ends that the process is at. Never waits, and never raises.

        A process that takes no more messages, as it was stopped, is told after the next request.
        """
        self._forgotten.append(number)
        self._tidy()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._socket.close()

    def _tidy(self) -> None:
        while self._forgotten and self._lock.acquire(blocking=False):
            try:
                if not self._listens():
                    return
                numbers = [self._forgotten.popleft() for _ in range(len(self._forgotten))]
                self._send({"do": "close", "ids": numbers}, None)
                self._owed += 1
            except (OSError, ValueError):  # it has ended, or is closed just now, and all its files with it
                self._forgotten.clear()
            finally:
                self._lock.release()

    def _listens(self) -> bool:
        """Whether a short message can be sent at once. Raises ValueError when it is closed meanwhile."""
        if not self.alive:
            self._forgotten.clear()
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)  # Linux says so as long as three quarters of its buffer are free
        return bool(poll.poll(0))

    def _exchange(self, request: dict[str, Any], descriptor: int | None) -> tuple[dict[str, Any], bytearray]:
        if not self.alive:
            raise Died(False, -self._process.returncode)
        mine = False
        try:
            while self._owed:
                self._answer()
                self._owed -= 1
            mine = True  # up to here it closed what others had open
            self._send(request, descriptor)
            return self._answer()
        except OSError as exc:
            if not isinstance(exc, TimeoutError):  # it has ended, or is about to
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_PARTING_S)
            self.kill()
            raise Died(mine, -self._process.returncode) from exc

    def _answer(self) -> tuple[dict[str, Any], bytearray]:
        length, size = LENGTHS.unpack(self._receive(LENGTHS.size))
        return json.loads(self._receive(length)), self._receive(size)

    def _send(self, request: dict[str, Any], descriptor: int | None) -> None:
        message = json.dumps(request).encode()
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._socket.sendmsg([LENGTHS.pack(len(message), 0)], rights)
        self._socket.sendall(message)

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while len(view):
            if not (count := self._socket.recv_into(view)):
                raise ConnectionResetError
            view = view[count:]
        return data


class Descriptor:
    """A file to hand over: a descriptor of its own, which is good until it was sent, and which of its bytes are meant.

    What is in memory is copied. Raises ValueError or OSError if the file is closed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._own = file, -1

    def __enter__(self) -> tuple[int, int, int]:
        size = self._file.seek(0, os.SEEK_END)
        try:
            self._file.flush()
            self._own = os.dup(self._file.fileno())
            return self._own, getattr(self._file, "offset", 0), size
        except io.UnsupportedOperation:
            self._own = os.memfd_create("upload")
            try:
                self._copy()
            except BaseException:  # its client has gone and it was closed meanwhile, or there is no memory
                os.close(self._own)
                raise
            return self._own, 0, size

    def __exit__(self, *_: object) -> None:
        os.close(self._own)

    def _copy(self) -> None:
        self._file.seek(0)
        while chunk := self._file.read(_COPY_BYTES):
            os.write(self._own, chunk)
