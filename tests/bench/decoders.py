"""What it costs to decode in another process: `python -m tests.bench.decoders`. CPU of both sides, and time."""

import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from service.media.audio import AudioStream, open_audio
from service.media.decoders import Decoders
from service.media.image import read_view
from tests import sounds

VIEW = {"image_size": 518, "patch_size": 14, "max_pixels": 50_000_000, "max_bytes": 1 << 26}
SECONDS = (2.5, 60)
ROUNDS = 10
ROOM = Path(__file__).parents[1] / "data" / "room-1.jpg"


def read(stream: AudioStream) -> None:
    with stream:
        for _ in stream.blocks():
            pass


def cpu_s(decoders: Decoders) -> float:
    """Of this process and of those that decode."""
    ticks = os.sysconf("SC_CLK_TCK")
    others = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in decoders.pids)
    return time.process_time() + sum((int(fields[11]) + int(fields[12])) / ticks for fields in others)


def measure(decoders: Decoders, job: Callable[[], object]) -> tuple[float, float]:
    """Median of the time of one, and its share of all CPU, in ms."""
    job()
    times, before = [], cpu_s(decoders)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        job()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000, (cpu_s(decoders) - before) / ROUNDS * 1000


def main() -> None:
    decoders = Decoders(1, 1 << 30, 60)
    begun = time.perf_counter()
    decoders.read_view(io.BytesIO(ROOM.read_bytes()), **VIEW)
    started_ms = (time.perf_counter() - begun) * 1000
    table = Table("file", "here: ms", "CPU ms", "apart: ms", "CPU ms")
    for seconds in SECONDS:
        clip = np.resize(sounds.clip(), round(seconds * sounds.SAMPLE_RATE))
        for name in ("wav", "flac", "mp3", "ogg-opus", "m4a"):
            data = sounds.encoded(clip, name)
            here = measure(decoders, lambda data=data: read(open_audio(io.BytesIO(data), None, max_audio_s=100)))
            apart = measure(
                decoders, lambda data=data: read(decoders.open_audio(io.BytesIO(data), None, max_audio_s=100))
            )
            table.add_row(f"{seconds:g} s {name}", *(f"{value:.2f}" for value in (*here, *apart)))
    photo = ROOM.read_bytes()
    here = measure(decoders, lambda: read_view(io.BytesIO(photo), **VIEW))
    apart = measure(decoders, lambda: decoders.read_view(io.BytesIO(photo), **VIEW))
    table.add_row("a photo", *(f"{value:.2f}" for value in (*here, *apart)))
    Console().print(table)
    Console().print(f"a process begins in {started_ms:.0f} ms, its first picture included")
    decoders.close()


if __name__ == "__main__":
    main()
