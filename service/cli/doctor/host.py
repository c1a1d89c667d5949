"""The machine, or what the container gets of it: memory, disks, the port, open files."""

import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from service.cli.doctor.finding import Finding
from service.settings import Settings

_GIB = 1 << 30
_NEEDED_BYTES = 2 * _GIB  # the process with the models that ship, and a few requests
_STORE_BYTES = _GIB
_OPEN_FILES = 4096


def check(settings: Settings) -> Iterator[Finding]:
    yield _memory()
    yield _disk("temporary files", Path(tempfile.gettempdir()), settings.max_spool_bytes, "TMPDIR")
    if not settings.vector_url:
        yield _disk("vector store", settings.vector_store, _STORE_BYTES, "AURICLE_VECTOR_STORE")
    yield _port(settings)
    yield _open_files()


def available_bytes() -> int:
    """Of memory: what the kernel can give, and the container's limit (cgroup 2) allows."""
    free = int(next(line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemAvailable"))) * 1024
    limit = next(_lines("/sys/fs/cgroup/memory.max"), "max")
    if limit == "max":
        return free
    return min(free, int(limit) - int(next(_lines("/sys/fs/cgroup/memory.current"), "0")))


def _lines(path: str) -> Iterator[str]:
    try:
        yield from Path(path).read_text().splitlines()
    except OSError:
        return


def _memory() -> Finding:
    free = available_bytes()
    text = f"{free / _GIB:.1f} GiB available, {len(os.sched_getaffinity(0))} cores"
    if free >= _NEEDED_BYTES:
        return Finding("ok", "memory", text)
    return Finding(
        "warning", "memory", text, f"give it {_NEEDED_BYTES / _GIB:g} GiB, or fewer AURICLE_PREPROCESS_WORKERS"
    )


def _disk(subject: str, path: Path, needed: int, variable: str) -> Finding:
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not os.access(folder, os.W_OK):
        return Finding("error", subject, f"{folder} cannot be written", f"name another folder: {variable}")
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free at {folder}"
    if free >= needed:
        return Finding("ok", subject, text)
    return Finding(
        "warning", subject, text, f"make room for {needed / _GIB:.1f} GiB, or name another folder: {variable}"
    )


def _port(settings: Settings) -> Finding:
    text = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except PermissionError:
        return Finding("error", "port", f"{text} needs privileges", "take a port above 1023: AURICLE_PORT")
    except OSError as exc:
        advice = "if that is not the service itself, already running: AURICLE_PORT, AURICLE_HOST"
        return Finding("warning", "port", f"{text}: {exc.strerror}", advice)
    return Finding("ok", "port", f"{text} is free")


def _open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _OPEN_FILES:
        return Finding("ok", "open files", f"up to {soft}")
    return Finding("warning", "open files", f"up to {soft}: one for each connection", f"ulimit -n {_OPEN_FILES}")
