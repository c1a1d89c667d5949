"""The command line as a real process."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny

ROOT = Path(__file__).parent.parent.parent
READY = re.compile(r"Auricle is ready on (http://[^\s\"]+)")


def environment(repository: Path) -> dict[str, str]:
    return {**os.environ, "AURICLE_MODEL_REPOSITORY": str(repository), "OMP_NUM_THREADS": "1"}


def auricle(repository: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Runs one command to its end."""
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env=environment(repository), capture_output=True, text=True, timeout=120, check=False
    )


class Service:
    """`auricle serve` on a free port; `lines` is what it has logged so far."""

    def __init__(self, repository: Path) -> None:
        command = [sys.executable, "-m", "service", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment(repository), stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: list[str] = []
        self.url = self.wait_for(READY)

    def wait_for(self, pattern: re.Pattern[str]) -> str:
        """Reads the log up to a line that matches; returns the first group. Fails where the log ends before."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if match := pattern.search(line):
                return match[match.lastindex or 0]
        pytest.fail("the process ended:\n" + "".join(self.lines))

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def service(repository: Path) -> Iterator[Service]:
    service = Service(repository)
    yield service
    service.close()
