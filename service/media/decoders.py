"""The processes that decode what clients send: compressed audio and pictures. FFmpeg and Pillow run nowhere else.

A file that crashes its decoder, or is stopped by the limits on it, is refused as malformed and the process is replaced.
What others have open in the same process goes on in the new one, from where it was: decoding is repeatable. Plain PCM
needs no decoder and never comes here.
"""

import itertools
import signal
import threading
from collections.abc import Iterator
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedInput, ServiceError
from service.media.audio import AudioStream, open_audio
from service.media.image import View
from service.media.process import Descriptor, Died, Process

_STOPPED = {
    signal.SIGXCPU: "takes too long to decode",
    signal.SIGKILL: "takes too long, or too much memory, to decode",
}


class Decoders:
    """Up to `count` processes, each begun when those before it are busy."""

    def __init__(self, count: int, memory_bytes: int, cpu_s: int) -> None:
        self._begin = partial(Process, memory_bytes, cpu_s)
        self._processes: list[Process] = []
        self._count, self._lock = count, threading.RLock()  # a recording may be collected while it is held
        self._numbers = itertools.count()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.alive]

    def start(self) -> None:
        """Begins all of them, so that no client waits for it. Returns at once."""
        with self._lock:
            self._processes += [self._begin() for _ in range(self._count - len(self._processes))]

    def open_audio(self, file: IO[bytes], content_type: str | None, *, max_audio_s: float) -> AudioStream:
        """As `service.media.audio.open_audio`."""
        return open_audio(file, content_type, max_audio_s=max_audio_s, decode=partial(Recording, self))

    def read_view(self, file: IO[bytes], **options: int) -> View:
        """As `service.media.image.read_view`."""
        with Source(self, file) as source:
            answer, pixels = source.begin("view", options=options)
        width, height = answer["original_size"]
        return View(
            np.frombuffer(pixels, np.uint8).reshape(answer["shape"]),
            np.array(answer["original_from_model"], np.float64),
            (width, height),
        )

    def take(self) -> tuple[Process, int]:
        """The process that has least to do, and a number for a file in it; to be given back with `leave`."""
        with self._lock:
            for dead in [process for process in self._processes if not process.alive]:
                self._processes.remove(dead)
                dead.close()
            process = min(self._processes, key=lambda each: each.opened, default=None)
            if process is None or (process.opened and len(self._processes) < self._count):
                process = self._begin()
                self._processes.append(process)
            process.opened += 1
            return process, next(self._numbers)

    def leave(self, process: Process) -> None:
        with self._lock:
            process.opened -= 1

    def close(self) -> None:
        for process in self._processes:
            process.close()


class Source:
    """A file in one of the processes, which survives its end once: what ends two was the file."""

    def __init__(self, decoders: Decoders, file: IO[bytes]) -> None:
        self._decoders, self._file = decoders, file
        self._process, self._number = decoders.take()
        self._deaths = 0

    def begin(self, do: str, **request: Any) -> tuple[dict[str, Any], bytearray]:
        while True:
            with Descriptor(self._file) as (descriptor, offset, size):
                message = {"do": do, "id": self._number, "offset": offset, "size": size, **request}
                try:
                    return self._process.call(message, descriptor)
                except Died as exc:
                    self.revive(exc)

    def call(self, do: str) -> tuple[dict[str, Any], bytearray]:
        """Raises Died, after which `revive` and `begin` start over."""
        return self._process.call({"do": do, "id": self._number})

    def revive(self, death: Died) -> None:
        """Takes another process. Raises MalformedInput where it is this file that ends them."""
        self._deaths += death.mine
        if death.number in _STOPPED and death.mine:
            raise MalformedInput(f"the file {_STOPPED[signal.Signals(death.number)]}") from death
        if self._deaths > 1:
            raise MalformedInput("the file is damaged in a way that stops its decoder") from death
        self._decoders.leave(self._process)
        self._process, self._number = self._decoders.take()

    def close(self) -> None:
        self._process.forget(self._number)
        self._decoders.leave(self._process)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Recording:
    """A recording that is decoded in another process, with the interface of `service.media.decode.Decoder`."""

    def __init__(self, decoders: Decoders, file: IO[bytes], name: str, start: int) -> None:
        self._open = False
        self._source = Source(decoders, file)
        self._open = True
        self._request: dict[str, Any] = {"name": name, "start": start}
        try:
            answer = self._begin()
        except BaseException:
            self.close()
            raise
        self.sample_rate, self.channels, self.declared = answer["sample_rate"], answer["channels"], answer["declared"]

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        done = 0
        while self._open:
            try:
                answer, data = self._source.call("next")
            except Died as exc:
                self._source.revive(exc)
                self._begin(skip=done)
                continue
            except ServiceError:
                self.close()
                raise
            if answer["shape"] is None:
                return
            done += 1
            yield np.frombuffer(data, np.float32).reshape(answer["shape"])

    def close(self) -> None:
        if self._open:
            self._open = False
            self._source.close()

    def __del__(self) -> None:  # a request that is refused in between never gets to close it
        self.close()

    def _begin(self, skip: int = 0) -> dict[str, Any]:
        while True:
            answer, _ = self._source.begin("audio", **self._request)
            try:
                for _ in range(skip):
                    self._source.call("next")
            except Died as exc:
                self._source.revive(exc)
            else:
                return answer
