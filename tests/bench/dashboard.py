"""What the dashboard shows of ten minutes: `python -m tests.bench.dashboard --out docker/grafana/dashboard.png`.

Runs the gateway, two Tritons and Prometheus under the command lines of compose.yaml, over the exported models; loads
them with `auricle bench`: little, more, much, too much, little; one Triton hangs for a while. Then asks Prometheus for
all that the dashboard draws, and draws it: Grafana itself is in no package that a test could install.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.bench.drawing import draw
from tests.docker.conftest import DOCKER
from tests.docker.processes import Gateway, Prometheus, Triton

STEP_S = 5
_ROWS = 42  # of the dashboard's grid; below are GPUs and processes
RATES = (0.5, 1.0, 2.0, 4.0, 1.0)  # of `--rate`


def main(
    out: Annotated[Path, typer.Option(help="PNG file for the drawing.")],
    repository: Annotated[Path, typer.Option(help="Exported models.")] = Path("model_repository"),
    mix: Annotated[str, typer.Option(help="As `auricle bench` takes it.")] = "tokenize=2,text=6,audio=2",
    rate: Annotated[float, typer.Option(help="Requests a second, in the middle.")] = 2.0,
    seconds: Annotated[float, typer.Option(help="Of each of the five loads.")] = 120.0,
) -> None:
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = compose()
        # without its configurations for GPUs: the flags of compose.yaml name them, and Triton takes the others then
        models = shutil.copytree(repository, work / "models", ignore=shutil.ignore_patterns("configs"))
        tritons = [Triton(models, folder(work, f"triton-{n}"), services["triton"]["command"]) for n in (1, 2)]
        for triton in tritons:
            stack.callback(triton.kill)
            triton.start(600)
        settings = {
            "AURICLE_TRITON_URL": ",".join(triton.url for triton in tritons),
            "AURICLE_MODEL_REPOSITORY": str(models),
        }
        gateway = Gateway(services["gateway"], services["keys"], folder(work, "gateway"), **settings)
        stack.enter_context(gateway)
        targets = {"gateway": gateway.address, "triton": tritons[0].metrics_address}
        watching = Prometheus(services["prometheus"]["command"], targets, folder(work, "prometheus"))
        prometheus = stack.enter_context(watching)
        started = time.time()
        for number, share in enumerate(RATES):
            load = bench(gateway, mix, rate * share, seconds)
            if number == 1:
                time.sleep(seconds / 3)
                tritons[1].freeze()
                time.sleep(seconds / 3)
                tritons[1].thaw()
            load.wait()
        draw(answers(prometheus, started, time.time()), out, _ROWS)


def folder(work: Path, name: str) -> Path:
    (work / name).mkdir()
    return work / name


def compose() -> dict[str, Any]:
    profiles = [f"--profile={profile}" for profile in ("gpu", "tools", "observability")]
    command = ["docker-compose", "--file", str(DOCKER / "compose.yaml"), *profiles, "config", "--format", "json"]
    printed = subprocess.run(command, capture_output=True, check=True)
    services: dict[str, Any] = json.loads(printed.stdout)["services"]
    return services


def bench(gateway: Gateway, mix: str, rate: float, seconds: float) -> "subprocess.Popen[bytes]":
    options = [f"--url={gateway.url}", f"--mix={mix}", f"--rate={rate}", f"--seconds={seconds}", "--warm-up=0"]
    environment = os.environ | {"AURICLE_API_KEY": gateway.headers["Authorization"].removeprefix("Bearer ")}
    return subprocess.Popen([sys.executable, "-m", "service", "bench", *options], env=environment)


def answers(prometheus: Prometheus, start: float, end: float) -> list[dict[str, Any]]:
    """Each panel with the series of its queries, over the whole run."""
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "auricle.json").read_text())
    everything = {f"${variable['name']}": variable.get("allValue", "") for variable in dashboard["templating"]["list"]}
    panels: list[dict[str, Any]] = dashboard["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "30s")
            for name, value in everything.items():
                expression = expression.replace(name, value)
            query = {"query": expression, "start": start, "end": end, "step": STEP_S}
            url = f"http://{prometheus.address}/api/v1/query_range?" + urllib.parse.urlencode(query)
            with urllib.request.urlopen(url, timeout=60) as answer:
                target["series"] = json.load(answer)["data"]["result"]
    return panels


if __name__ == "__main__":
    typer.run(main)
