"""Decoding in processes apart: the same samples, and whatever a file does to its decoder stays there."""

import fcntl
import io
import os
import re
import signal
import struct
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge
from service.media.audio import AudioStream, open_audio
from service.media.decoders import Decoders
from service.media.image import read_view
from service.media.process import Descriptor, Died, Process
from service.web.form import _Window
from tests import pictures, sounds

VIEW = {"image_size": 70, "patch_size": 14, "max_pixels": 50_000_000, "max_bytes": 1 << 26}
T = TypeVar("T")

LONG = np.resize(sounds.clip(), 16_000 * 60)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    decoders = Decoders(2, 1 << 30, 30)
    yield decoders
    decoders.close()


@pytest.fixture
def alone() -> Iterator[Decoders]:
    """One process, so that all files are in it."""
    decoders = Decoders(1, 1 << 28, 30)
    yield decoders
    decoders.close()


@pytest.fixture(scope="module")
def long() -> bytes:
    return sounds.encoded(LONG, "flac")


def samples(stream: AudioStream) -> NDArray[np.float32]:
    with stream:
        return np.concatenate(list(stream.blocks()), axis=1)


@pytest.mark.parametrize("audio_format", sounds.FORMATS)
def test_the_samples_are_the_same_from_memory_from_disk_and_from_a_form(decoders: Decoders, audio_format: str) -> None:
    data = sounds.encoded(sounds.clip(), audio_format)
    expected = samples(open_audio(io.BytesIO(data), None, max_audio_s=60))
    with tempfile.TemporaryFile() as file:
        file.write(b"in front" + data + b"behind")
        window = _Window(file, 8, 8 + len(data))
        for source in (io.BytesIO(data), window):
            found = samples(decoders.open_audio(source, None, max_audio_s=60))
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_the_same(decoders: Decoders, image_format: str) -> None:
    data = pictures.encoded(pictures.halves(40, 200), image_format)
    found, expected = decoders.read_view(io.BytesIO(data), **VIEW), read_view(io.BytesIO(data), **VIEW)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_array_equal(found.original_from_model, expected.original_from_model)
    assert found.original_size == expected.original_size


def test_refusals_are_the_same(decoders: Decoders) -> None:
    with pytest.raises(MalformedInput, match="cut short"):
        decoders.open_audio(io.BytesIO(sounds.encoded(sounds.clip(), "flac")[:2000]), None, max_audio_s=60)
    with pytest.raises(PayloadTooLarge, match="longer than 1 s"):
        samples(decoders.open_audio(io.BytesIO(sounds.encoded(sounds.clip(), "mp3")), None, max_audio_s=1))
    with pytest.raises(InvalidInput, match="sides from"):
        decoders.read_view(io.BytesIO(pictures.encoded(pictures.grey(1, 1, 1))), **VIEW)


def test_a_crash_is_survived_by_everything_that_was_open(alone: Decoders, long: bytes) -> None:
    """The process that decodes three files is killed by a segmentation fault; each goes on where it was."""
    expected = samples(open_audio(io.BytesIO(long), None, max_audio_s=600))
    streams = [alone.open_audio(io.BytesIO(long), None, max_audio_s=600) for _ in range(3)]
    readers = [stream.blocks() for stream in streams]
    parts = [[next(reader), next(reader)] for reader in readers]
    (pid,) = alone.pids
    os.kill(pid, signal.SIGSEGV)
    for part, reader in zip(parts, readers, strict=True):
        np.testing.assert_array_equal(np.concatenate([*part, *reader], axis=1), expected)
    assert alone.pids != [pid]
    for stream in streams:
        with stream:
            pass


def crash_at_work(decoders: Decoders, step: Callable[[], T], number: int = signal.SIGSEGV) -> T:
    """Ends the process by a signal after it was sent the request of `step`, and before it answers."""
    process = decoders._processes[0]
    os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(step)
        while not struct.unpack("i", fcntl.ioctl(process._socket, termios.TIOCOUTQ, bytes(4)))[0]:
            pass
        os.kill(process.pid, number)
        os.kill(process.pid, signal.SIGCONT)
        return future.result()


def test_a_file_that_crashes_every_decoder_is_refused_and_the_next_one_served(alone: Decoders, long: bytes) -> None:
    bystander = alone.open_audio(io.BytesIO(long), None, max_audio_s=600)
    reader = alone.open_audio(io.BytesIO(long), None, max_audio_s=600).blocks()
    next(reader)
    assert crash_at_work(alone, lambda: next(reader)).shape[0] == 1  # it may have been chance
    with pytest.raises(MalformedInput, match="stops its decoder"):
        crash_at_work(alone, lambda: next(reader))
    assert samples(bystander).shape[0] == 1
    assert samples(alone.open_audio(io.BytesIO(long), None, max_audio_s=600)).shape[0] == 1


@pytest.mark.parametrize(
    ("mode", "image_format", "options"),
    [("RGBA", "PNG", {}), ("RGB", "JPEG", {"progressive": True}), ("RGB", "WEBP", {"lossless": True, "method": 0})],
)
def test_a_picture_that_takes_too_much_memory_is_refused_by_the_limit(
    mode: str, image_format: str, options: dict[str, object]
) -> None:
    file = io.BytesIO()
    pictures.grey(128, 6000, 6000).convert(mode).save(file, image_format, **options)  # 108 MB or more when decoded
    decoders = Decoders(1, 64 << 20, 30)
    try:
        with pytest.raises((PayloadTooLarge, MalformedInput)):
            decoders.read_view(file, **VIEW)
        assert decoders.read_view(io.BytesIO(pictures.encoded(pictures.grey())), **VIEW).original_size == (320, 240)
    finally:
        decoders.close()


def test_a_file_has_so_much_time_of_a_core_and_is_refused_beyond(alone: Decoders, long: bytes) -> None:
    reader = alone.open_audio(io.BytesIO(long), None, max_audio_s=600).blocks()
    next(reader)
    limits = Path(f"/proc/{alone.pids[0]}/limits").read_text()
    seconds = re.search(r"Max cpu time +(\d+) ", limits)
    assert seconds is not None
    assert 30 < int(seconds[1]) < 40  # its own budget of 30 s, and what the process had taken before
    with pytest.raises(MalformedInput, match="too long"):
        crash_at_work(alone, lambda: next(reader), signal.SIGXCPU)  # as the kernel does beyond the limit
    assert samples(alone.open_audio(io.BytesIO(long), None, max_audio_s=600)).shape[0] == 1


def descriptors(decoders: Decoders) -> int:
    """Of its one process. Asked after a picture, it has done all that it was told before."""
    assert decoders.read_view(io.BytesIO(pictures.encoded(pictures.grey())), **VIEW).original_size == (320, 240)
    (pid,) = decoders.pids
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_what_is_left_halfway_is_closed_in_the_process(alone: Decoders, long: bytes) -> None:
    before = descriptors(alone)
    for _ in range(5):
        stream = alone.open_audio(io.BytesIO(long), None, max_audio_s=600)
        next(stream.blocks())
    del stream
    assert descriptors(alone) == before
    assert alone._processes[0].opened == 0


def test_a_file_in_memory_that_is_closed_as_it_is_handed_over_leaves_no_copy() -> None:
    class Vanishing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            self.close()
            return super().read(size)

    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(ValueError, match="closed"), Descriptor(Vanishing(b"sound")):
        pytest.fail("there is nothing to hand over")
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


def test_to_forget_a_file_never_waits_for_the_process(alone: Decoders, long: bytes) -> None:
    before = descriptors(alone)
    streams = [alone.open_audio(io.BytesIO(long), None, max_audio_s=600) for _ in range(3)]
    (pid,) = alone.pids
    os.kill(pid, signal.SIGSTOP)
    waking = threading.Timer(5, os.kill, (pid, signal.SIGCONT))  # else what waits would do so for 90 s
    waking.start()
    began = time.monotonic()
    for stream in streams:
        with stream:
            pass
    for number in range(1000, 3000):  # more than the connection holds
        alone._processes[0].forget(number)
    waited = time.monotonic() - began
    waking.cancel()
    os.kill(pid, signal.SIGCONT)
    assert waited < 4
    assert descriptors(alone) == before
    assert not alone._processes[0]._forgotten
    assert samples(alone.open_audio(io.BytesIO(long), None, max_audio_s=600)).shape[0] == 1
    assert alone.pids == [pid]


def test_a_process_that_ends_as_it_closes_a_file_is_not_held_against_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(1 << 28, 30)
    try:
        os.kill(process.pid, signal.SIGSTOP)
        process.forget(0)
        process.kill()
        process.forget(1)
        monkeypatch.setattr(Process, "alive", True)  # as long as nobody knows it
        process.forget(2)
        with pytest.raises(Died) as death:
            process.call({"do": "next", "id": 3})
    finally:
        process.close()
    process.forget(4)
    assert not death.value.mine
