"""A gateway process of its own, as it is deployed, for the length of a benchmark."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def gateway(repository: Path, triton_url: str | None = None, **settings: str) -> Iterator[int]:
    """The port of a gateway that is ready. `settings` are more environment variables."""
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
        yield port
    finally:
        process.terminate()
        process.wait(timeout=60)


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
