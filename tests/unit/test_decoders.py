"""Decoding in processes apart: the same samples, and whatever a file does to its decoder stays there."""

import fcntl
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge
from service.media.audio import AudioStream, open_audio
from service.media.decoders import Decoders
from service.media.image import read_view
from service.media.process import Descriptor, Process
from service.web.form import _Window
from tests import pictures, sounds

VIEW = {"image_size": 70, "patch_size": 14, "max_pixels": 50_000_000, "max_bytes": 1 << 26}
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
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


def test_what_is_left_halfway_is_closed_in_the_process(alone: Decoders, long: bytes) -> None:
    def descriptors() -> int:
        (pid,) = alone.pids
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    samples(alone.open_audio(io.BytesIO(long), None, max_audio_s=600))
    before = descriptors()
    for _ in range(5):
        stream = alone.open_audio(io.BytesIO(long), None, max_audio_s=600)
        next(stream.blocks())
    del stream
    assert descriptors() == before
    assert alone._processes[0].opened == 0


def test_the_process_can_open_nothing(decoders: Decoders) -> None:
    samples(decoders.open_audio(io.BytesIO(sounds.encoded(sounds.clip(), "flac")), None, max_audio_s=60))
    for pid in decoders.pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max file size             0                    0" in limits
        assert "Max core file size        0                    0" in limits
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert {variable.partition(b"=")[0] for variable in environment if variable} <= {
            *(b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"LC_CTYPE")
        }


CURIOUS = """
import os, socket, sys
from service.media import child

ATTEMPTS = {
    "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "new file": lambda: os.open("/tmp/left-behind", os.O_CREAT | os.O_WRONLY),
    "socket": socket.socket,
    "pair": socket.socketpair,
}

def look_around(self, opened, request):
    outcomes = {}
    for name, attempt in ATTEMPTS.items():
        try:
            outcomes[name] = str(attempt())
        except OSError as exc:
            outcomes[name] = exc.strerror
    return {"outcomes": outcomes, "read": opened.file.read().decode()}, b""

child.Child._view = look_around
child.main(*map(int, sys.argv[1:]))
"""


def test_a_decoder_that_opens_what_a_file_names_gets_nothing_but_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([command[0], "-c", CURIOUS, *command[3:]], **options)

    monkeypatch.setattr("service.media.process.subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": begin}))
    process = Process(1 << 28, 30)
    try:
        with Descriptor(io.BytesIO(b"a picture")) as (descriptor, offset, size):
            request = {"do": "view", "id": 0, "offset": offset, "size": size}
            answer, _ = process.call(request, descriptor)
    finally:
        process.close()
    assert answer["read"] == "a picture"
    assert set(answer["outcomes"].values()) == {"Too many open files"}


LATE = """
import io, json, sys
from base64 import b64decode
from service.errors import ServiceError
from service.media import audio, child, image

def attempt(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except ServiceError:
        return None

def decode(data):
    with audio.open_audio(io.BytesIO(data), None, max_audio_s=60) as stream:
        list(stream.blocks())

child.warm()
files = json.load(sys.stdin)
before = set(sys.modules)
for kind, data in files:
    data = b64decode(data)
    for cut in (data, data[: len(data) // 2]):
        if kind == "audio":
            attempt(decode, cut)
        else:
            attempt(image.read_view, io.BytesIO(cut), **json.loads(sys.argv[1]))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_nothing_is_imported_once_nothing_can_be_opened() -> None:
    """Else a good file would be refused as damaged, as a part of its decoder could not be loaded."""
    files = [("audio", sounds.encoded(sounds.clip(), audio_format)) for audio_format in sounds.FORMATS]
    files += [("image", pictures.encoded(pictures.grey(), name)) for name in ("PNG", "JPEG", "WEBP")]
    sent = json.dumps([(kind, b64encode(data).decode()) for kind, data in files])
    command = [sys.executable, "-c", LATE, json.dumps(VIEW)]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []
