"""Runs the real Milvus, standalone, on free ports of 127.0.0.1, out of its wheel."""

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
_ATTEMPTS = 2  # its parts look for free ports of their own before they listen, and another test may come between


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

    def start(self, timeout_s: float = 120.0) -> None:
        """Raises RuntimeError when it is not ready within `timeout_s`, twice."""
        wheel, binaries = install()
        self._data.mkdir(exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (self._data / "bin").symlink_to(binaries / "bin")
        for _ in range(_ATTEMPTS):
            self._launch(wheel)
            if self._ready(timeout_s):
                return
            self.kill()
        raise RuntimeError(f"Milvus is not ready:\n{self.log.read_text()}")

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own: the wrapper, and the server below
            self._process.wait()
            self._process = None

    def _launch(self, wheel: Path) -> None:
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

    def _ready(self, timeout_s: float) -> bool:
        end = time.monotonic() + timeout_s
        while self._process is not None and self._process.poll() is None and time.monotonic() < end:
            if self._answers():
                return True
            time.sleep(0.2)  # polling another process is the one wait that has nothing to wait on
        return False

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
