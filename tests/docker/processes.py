"""The services of compose.yaml as plain processes: their own flags, on free ports and folders of this machine."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import yaml

from tests.e2e.conftest import READY, ROOT
from tests.tritonserver.server import TritonServer

NEWER_THAN_THE_TEST_SERVER = {"--allow-client-shm=true"}  # from 26.04 on; before, it was always on


class Triton(TritonServer):
    """tritonserver under the flags of a container; what differs is where the container's folders and ports are."""

    def __init__(self, repository: Path, work: Path, command: Sequence[str]) -> None:
        super().__init__(repository, work)
        self.flags = [flag for flag in command[1:] if flag not in NEWER_THAN_THE_TEST_SERVER]
        self.metrics_address = f"127.0.0.1:{free_port()}"

    def _command(self) -> list[str]:
        inside = "--model-repository=/models"
        assert inside in self.flags
        binary, *ours = super()._command()
        here = ("--backend-", "--pinned-", "--http-", "--grpc-")
        return [
            binary,
            *(flag for flag in self.flags if flag != inside),
            f"--model-repository={self.repository}",
            *(flag for flag in ours if flag.startswith(here)),
            "--metrics-address=127.0.0.1",
            f"--metrics-port={self.metrics_address.rpartition(':')[2]}",
        ]


class Gateway:
    """`auricle` with the command and the environment of a service; `settings` say what is elsewhere here."""

    def __init__(self, service: dict[str, Any], keys: dict[str, Any], work: Path, **settings: str) -> None:
        """`keys` is the service that makes the API key of this gateway."""
        moved = {"AURICLE_API_KEYS_FILE": str(work / "keys.json"), "AURICLE_VECTOR_STORE": str(work / "vectors")}
        elsewhere = moved | {"AURICLE_PORT": "0", "AURICLE_VECTOR_URL": ""} | settings
        given = {name: value for name, value in service["environment"].items() if value is not None}  # None: unset
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", **given, **elsewhere}
        self.command = service["command"]
        self.keys = [*keys["entrypoint"][1:], "add", "operations"]
        self.log = work / "gateway.log"
        self.address = ""
        self.headers: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def __enter__(self) -> Self:
        auricle = [sys.executable, "-m", "service"]
        key = subprocess.run([*auricle, *self.keys], cwd=ROOT, env=self.environment, capture_output=True, check=True)
        self.headers = {"Authorization": f"Bearer {key.stdout.decode().strip()}"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*auricle, *self.command], cwd=ROOT, env=self.environment, stderr=log)
        end = time.monotonic() + 180
        while not (found := READY.search(self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)  # polling another process is the one wait that has nothing to wait on
        self.address = f"127.0.0.1:{found[1].rpartition(':')[2]}"
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()


class Prometheus:
    """Prometheus under its flags; its jobs look at `targets`, by job, every second, instead of asking a name server."""

    def __init__(self, command: Sequence[str], targets: dict[str, str], work: Path) -> None:
        config = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yaml").read_text())
        config["global"] |= {"scrape_interval": "1s"}
        config["rule_files"] = [str(ROOT / "docker" / "prometheus" / name) for name in config["rule_files"]]
        config["scrape_configs"] = [
            {"job_name": job["job_name"], "static_configs": [{"targets": [targets[job["job_name"]]]}]}
            for job in config["scrape_configs"]
            if job["job_name"] in targets
        ]
        (work / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{free_port()}"
        moved = {"/etc/prometheus/prometheus.yaml": str(work / "prometheus.yaml"), "/prometheus": str(work / "data")}
        self.command = [f"{name}={moved.get(value, value)}" for name, _, value in (f.partition("=") for f in command)]
        self.command = [flag.rstrip("=") for flag in self.command]
        self.log = work / "prometheus.log"

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", *self.command, f"--web.listen-address={self.address}"], stdout=log, stderr=log
            )
        end = time.monotonic() + 30
        while True:
            with suppress(OSError):
                urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5).close()
                return self
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self.log.read_text())
            time.sleep(0.05)

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, those without a number left out."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return [series for series in result if series["value"][1] != "NaN"]

    def scrape(self) -> None:
        """Returns when everything has been looked at again."""
        assert self.answers(f"min(timestamp(up)) > {time.time()}")

    def answers(self, expression: str, within_s: float = 15.0) -> bool:
        """Whether the query has an answer, after the scrapes that it needs."""
        end = time.monotonic() + within_s
        while not self.query(expression):
            if time.monotonic() > end:
                return False
            time.sleep(0.2)
        return True


def metric_names(text: str) -> set[str]:
    """The families of an exposition, each with the suffixes that its samples may have."""
    families = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    return {family + suffix for family in families for suffix in ("", "_bucket", "_sum", "_count", "_total")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
