"""Runs the real Milvus, standalone, on free ports of 127.0.0.1, out of its wheel.

One at a time on a machine, since the ports of its etcd are fixed: what asks it is in one file, which one worker runs.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from tests.tritonserver.install import cache, once, pip_install

WHEEL = "milvus==2.3.5"
_UNPACK = "import sys, milvus; milvus._initialize_data_files(sys.argv[1])"
_RUN = "import milvus; milvus.main()"


class MilvusServer:
    """`start` returns when it answers; `kill` is what the kernel's memory killer does."""

    def __init__(self, work: Path) -> None:
        self.port = _free_port()
        self.log = work / "milvus.log"
        self._data = work / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 240.0) -> None:
        wheel, binaries = install()
        self._data.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (self._data / "bin").symlink_to(binaries / "bin")
        command = [sys.executable, "-c", _RUN, "--data", str(self._data), "--proxy-port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=_environment(wheel),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Milvus is not ready:\n{self.log.read_text()}")
            time.sleep(0.2)  # polling another process is the one wait that has nothing to wait on

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own: the wrapper, and the server below it
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            with contextlib.suppress(MilvusException):
                client = MilvusClient(self.url, timeout=5)
                client.list_collections(timeout=5)
                client.close()
                return True
        return False


def install() -> tuple[Path, Path]:
    """The folder of the wheel, and that of what it unpacks, which takes most of a minute."""
    wheel = once(cache() / WHEEL.replace("==", "-"), lambda folder: pip_install(WHEEL, folder))

    def unpack(folder: Path) -> None:
        subprocess.run([sys.executable, "-c", _UNPACK, str(folder)], env=_environment(wheel), check=True)

    return wheel, once(cache() / f"{wheel.name}-unpacked", unpack)


def _environment(wheel: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(wheel)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
