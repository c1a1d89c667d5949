"""A gateway process of its own, as it is deployed, for the length of a benchmark."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.tritonserver.server import TritonServer


@dataclass(frozen=True)
class Gateway:
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def gateway(repository: Path, triton_url: str | None = None, **settings: str) -> Iterator[int]:
    """The port of a gateway that is ready. `settings` are more environment variables."""
    with running(repository, triton_url, **settings) as process:
        yield process.port


@contextmanager
def running(repository: Path, triton_url: str | None = None, **settings: str) -> Iterator[Gateway]:
    """The same, with its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AURICLE_")}
    environment |= {
        "AURICLE_PORT": str(port),
        "AURICLE_MODEL_REPOSITORY": str(repository),
        "AURICLE_LOG_LEVEL": "warning",
    }
    environment |= settings
    if triton_url:
        environment["AURICLE_TRITON_URL"] = triton_url
    process = subprocess.Popen([sys.executable, "-m", "service", "serve"], env=environment)
    try:
        _wait_ready(process, port)
        yield Gateway(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)


@contextmanager
def on_backend(repository: Path, triton: bool, **settings: str) -> Iterator[tuple[Gateway, str]]:
    """A gateway with the models inside, or over a real Triton server; and the name of that."""
    with ExitStack() as stack:
        if not triton:
            yield stack.enter_context(running(repository, **settings)), "embedded"
            return
        server = TritonServer(repository, Path(stack.enter_context(TemporaryDirectory())))
        stack.callback(server.kill)
        server.start()
        yield stack.enter_context(running(repository, server.url, **settings)), "tritonserver"


def _wait_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(6000):
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the gateway is not ready after ten minutes")
