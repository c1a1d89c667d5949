"""What a process and those that it began hold of the machine, as Linux counts it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Holdings:
    """`memory_mb` is resident (shared pages once: PSS); `segments` of /dev/shm that are mapped."""

    memory_mb: float
    files: int
    threads: int
    segments: int


def holdings(pid: int) -> Holdings:
    pids = family(pid)
    return Holdings(
        memory_mb=sum(_pss_kb(each) for each in pids) / 1024,
        files=sum(_count(Path(f"/proc/{each}/fd")) for each in pids),
        threads=sum(_count(Path(f"/proc/{each}/task")) for each in pids),
        segments=len(set().union(*map(_segments, pids))),
    )


def family(pid: int) -> list[int]:
    """The process, and all that it or its children began."""
    found = [pid]
    for parent in found:
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, file.read_text().split())
    return found


def slope_per_hour(times_s: list[float], values: list[float]) -> float:
    """The median of the slopes between any two points (Theil and Sen): no single peak tilts it."""
    times, heights = np.array(times_s), np.array(values)
    first, second = np.triu_indices(len(times), 1)
    return float(np.median((heights[second] - heights[first]) / (times[second] - times[first]))) * 3600


def _pss_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0  # it has ended in between


def _segments(pid: int) -> set[str]:
    """By name, also where that is gone from the folder: the memory is there as long as somebody maps it."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
        return {line.partition("/dev/shm/")[2] for line in lines if "/dev/shm/" in line}
    return set()


def _count(folder: Path) -> int:
    with suppress(OSError):
        return sum(1 for _ in folder.iterdir())
    return 0
