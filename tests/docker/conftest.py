"""What is under docker/, with the real tools: what a test says about a command line it has started."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import sounds, tiny
from tests.docker.processes import Gateway, Prometheus, Triton

ROOT = Path(__file__).parent.parent.parent
DOCKER = ROOT / "docker"

Compose = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def compose() -> Compose:
    """`compose("gpu", AURICLE_PORTS="80")` is the whole file as Docker Compose understands it, by its JSON."""

    @cache
    def config(*profiles: str, **environment: str) -> dict[str, Any]:
        options = [f"--profile={profile}" for profile in profiles]
        command = ["docker-compose", "--file", str(DOCKER / "compose.yaml"), *options, "config", "--format", "json"]
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AURICLE_", "COMPOSE_"))}
        result = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        understood: dict[str, Any] = json.loads(result.stdout)
        return understood

    return config


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """`promtool(*arguments)`: what it prints. A failure of the tool is one of the test."""
    if not shutil.which("promtool"):
        pytest.skip("Prometheus is not installed")

    def run(*arguments: str | Path) -> str:
        result = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    return run


@pytest.fixture(scope="session")
def triton(
    compose: Compose, tritonserver: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Triton]:
    """The real server under the flags of the compose file."""
    command = compose("gpu")["services"]["triton"]["command"]
    server = Triton(tiny.build(tmp_path_factory.mktemp("models")), tmp_path_factory.mktemp("triton"), command)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def gateway(compose: Compose, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway of the profile gpu, on that server and on one that is down."""
    services = compose("gpu", "tools")["services"]
    settings = {
        "AURICLE_TRITON_URL": f"127.0.0.1:1,{triton.url}",
        "AURICLE_MODEL_REPOSITORY": str(triton.repository),
    }
    with Gateway(services["gateway"], services["keys"], tmp_path_factory.mktemp("gateway"), **settings) as gateway:
        yield gateway


@pytest.fixture(scope="session")
def prometheus(
    compose: Compose, gateway: Gateway, triton: Triton, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """The real Prometheus under the flags of the compose file, looking at both."""
    if not shutil.which("prometheus"):
        pytest.skip("Prometheus is not installed")
    targets = {"gateway": gateway.address, "triton": triton.metrics_address}
    command = compose("observability")["services"]["prometheus"]["command"]
    with Prometheus(command, targets, tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def busy(gateway: Gateway, triton: Triton, prometheus: Prometheus) -> Prometheus:
    """Prometheus, after requests of every outcome: answered, refused as malformed, and refused while Triton hung."""
    hung = f'auricle_triton_server_up{{server="{triton.url}"}} == '

    def post(body: bytes) -> int:
        headers = gateway.headers | {"Content-Type": "audio/flac"}
        return httpx.post(f"{gateway.url}/v1/tokenize", content=body, headers=headers, timeout=60).status_code

    body = sounds.encoded(sounds.clip(), "flac")
    assert [post(body), post(b"no sound at all")] == [200, 415]
    prometheus.scrape()
    triton.freeze()
    assert prometheus.answers(hung + "0")
    assert post(body) == 503
    triton.thaw()
    assert prometheus.answers(hung + "1")
    assert post(body) == 200
    prometheus.scrape()
    return prometheus
