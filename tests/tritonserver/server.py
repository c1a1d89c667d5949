"""Runs one tritonserver process on free ports of 127.0.0.1, over any model repository."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.tritonserver import install

BACKENDS = Path(__file__).parent / "backends"


class TritonServer:
    """`start` returns when every model is loaded; `kill` is what the kernel's memory killer does."""

    def __init__(
        self, repository: Path, work: Path, *, config_name: str | None = None, flags: Sequence[str] = ()
    ) -> None:
        """`config_name`: serve `<model>/configs/<config_name>.pbtxt` where there is one. `flags`: more of them."""
        self.repository = repository
        self.grpc_port, self.http_port = _free_port(), _free_port()
        self.log = work / "tritonserver.log"
        self._config_name = config_name
        self._flags = flags
        self._backends = work / "backends"
        self._shm_prefix = f"auricle_{uuid.uuid4().hex[:10]}_"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """host:port of the gRPC endpoint."""
        return f"127.0.0.1:{self.grpc_port}"

    def start(self, timeout_s: float = 180.0) -> None:
        self.launch()
        self.wait_ready(timeout_s)

    def launch(self) -> None:
        """From the main thread: the server ends with the thread that started it."""
        if not self._backends.exists():
            _copy_backends(self._backends)
        # The death signal ends the server with the test run, however that ends. It is set by a command and not in
        # the child, because forking this process is not safe once gRPC has threads.
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*guard, *self._command()], env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        # a backend process that is busy with a request does not notice that its server has gone
        for pid in self._backend_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for segment in Path("/dev/shm").glob(f"{self._shm_prefix}*"):
            segment.unlink(missing_ok=True)

    def freeze(self) -> None:
        """The process stands still with its connections open, as on a host that swaps or has lost its network."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _command(self) -> list[str]:
        root = install.wheel() / "pytriton" / "tritonserver"
        command = [
            str(root / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends}",
            f"--backend-config=python,shm-region-prefix-name={self._shm_prefix}",
            "--model-control-mode=explicit",
            "--load-model=*",
            "--disable-auto-complete-config",
            "--allow-metrics=false",
            "--pinned-memory-pool-byte-size=0",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}",
        ]
        named = [f"--model-config-name={self._config_name}"] if self._config_name else []
        return [*command, *named, *self._flags]

    def wait_ready(self, timeout_s: float) -> None:
        assert self._process is not None
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"tritonserver ended with {self._process.returncode}:\n{self._complaints()}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/v2/health/ready", timeout=5).close()
                return
            time.sleep(0.05)  # polling another process is the one wait that has nothing to wait on
        raise RuntimeError(f"tritonserver is not ready after {timeout_s} s:\n{self._complaints()}")

    def _complaints(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join([line for line in lines if line.startswith(("E", "error"))] or lines[-40:])

    def _backend_processes(self) -> list[int]:
        """Only this server's: the prefix of its shared memory is on their command lines."""
        pids = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if self._shm_prefix.encode() in file.read_bytes():
                    pids.append(int(file.parent.name))
        return pids


def _copy_backends(folder: Path) -> None:
    """What a container has under /opt/tritonserver/backends. Copies: the server refuses links out of the folder."""
    root = install.wheel() / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "python"
    python.mkdir(parents=True)
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy2(root / "backends" / "python" / name, python)
    shutil.copy2(root / "python_backend_stubs" / version / "triton_python_backend_stub", python)
    (python / "triton_python_backend_stub").chmod(0o755)
    for name in ("onnxruntime", "pytorch"):
        (folder / name).mkdir()
        shutil.copy2(BACKENDS / f"{name}_model.py", folder / name / "model.py")
        shutil.copy2(BACKENDS / "requests_batch.py", folder / name)


def _environment() -> dict[str, str]:
    python = install.stub_python()
    libraries = [str(install.wheel() / "nvidia_pytriton.libs")]
    libdir = sysconfig.get_config_var("LIBDIR")
    if libdir and list(Path(libdir).glob("libpython3.*.so.1.0")):  # else the system's, which the loader finds itself
        libraries.append(libdir)
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "VIRTUAL_ENV")}
    return environment | {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PATH": f"{python.parent}:{environment.get('PATH', '')}",  # the embedded interpreter is the first python3
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
