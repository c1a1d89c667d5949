"""Bodies while they wait: closed for good, bounded together, and refused where the disk is full."""

import io
import os
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service import errors
from service.media.process import Descriptor
from service.models.tokenizer.encoders import MelWriter
from service.web.body import SPOOL_BYTES, Room, Spool


def test_a_body_that_is_closed_meanwhile_is_closed_after_it_went_to_disk() -> None:
    room = Room(4 * SPOOL_BYTES)
    body, opening, closes = Spool(room), threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def getvalue(self) -> bytes:
            opening.set()
            assert not closes.wait(0.1)  # the other thread has to wait
            return super().getvalue()

    body._file = Slow()  # where the base class keeps what it copies

    def close() -> None:
        opening.wait()
        body.close()
        closes.set()

    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(close)
        body.write(bytes(2 * SPOOL_BYTES))
        closing.result()
    assert body.closed
    assert room.used == 0
    with pytest.raises(ValueError, match="closed"):
        body.write(b"more")
    assert room.used == 0


def test_bodies_share_their_room_and_give_it_back() -> None:
    room = Room(3 * SPOOL_BYTES)
    with Spool(room) as first, Spool(room) as second:
        first.write(bytes(2 * SPOOL_BYTES))
        first.seek(0)
        first.write(bytes(SPOOL_BYTES))  # over what is there already
        second.write(bytes(SPOOL_BYTES))
        with pytest.raises(errors.Overloaded):
            second.write(b"x")
        assert room.used == 3 * SPOOL_BYTES
    assert room.used == 0


def test_a_body_in_memory_is_handed_over_without_a_disk() -> None:
    with Spool(Room(100)) as body:
        body.write(b"sound")
        with Descriptor(body) as (descriptor, offset, size):
            assert os.pread(descriptor, size, offset) == b"sound"
        assert isinstance(body._file, io.BytesIO)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("mounting a disk is not allowed here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        for size in (3 * SPOOL_BYTES, 9 * SPOOL_BYTES):
            with Spool(Room(1 << 30)) as body, pytest.raises(errors.StorageFull):
                body.write(bytes(size))
        with pytest.raises(errors.StorageFull):
            MelWriter(io.BytesIO(), 2, 10_000, 128)
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
