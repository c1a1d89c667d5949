"""What a process that decodes can reach: the file that it was given, and nothing else."""

import io
import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.media.decoders import Decoders
from service.media.process import Descriptor, Process
from tests import pictures, sounds

VIEW = {"image_size": 70, "patch_size": 14, "max_pixels": 50_000_000, "max_bytes": 1 << 26}
ROOT = Path(__file__).parents[2]


def test_the_process_can_write_nothing_and_knows_no_environment() -> None:
    decoders = Decoders(1, 1 << 28, 30)
    decoders.read_view(io.BytesIO(pictures.encoded(pictures.grey())), **VIEW)
    for pid in decoders.pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert "Max file size             0                    0" in limits
        assert "Max core file size        0                    0" in limits
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert {variable.partition(b"=")[0] for variable in environment if variable} <= {
            *(b"PYTHONPATH", b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS", b"LC_CTYPE")
        }
    decoders.close()


CURIOUS = """
import os, socket, sys
from service.media import child

ATTEMPTS = {
    "file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "new file": lambda: os.open("left-behind", os.O_CREAT | os.O_WRONLY),
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
