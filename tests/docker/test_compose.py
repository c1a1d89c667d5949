"""compose.yaml: what Docker Compose makes of it, and that what it starts does start."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests import sounds
from tests.docker.conftest import DOCKER, Compose
from tests.docker.processes import Gateway, Triton

OURS = {"gateway", "gateway-cpu", "export", "keys"}


def services(compose: Compose, *profiles: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(*profiles)["services"]
    return found


@pytest.mark.parametrize(
    ("profiles", "names"),
    [
        ([], {"gateway", "export", "triton", "milvus"}),
        (["gpu"], {"gateway", "export", "triton", "milvus"}),
        (["cpu"], {"gateway-cpu", "export"}),
        (["cpu", "observability"], {"gateway-cpu", "export", "prometheus", "grafana"}),
    ],
)
def test_a_profile_starts_what_it_says(compose: Compose, profiles: list[str], names: set[str]) -> None:
    assert services(compose, *profiles).keys() == names


def test_containers_may_do_little(compose: Compose) -> None:
    everything = services(compose, "gpu", "cpu", "observability", "tools")
    for name, service in everything.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "milvus", name
        assert not service.get("privileged"), name
        assert service.get("healthcheck") or name in OURS, name  # ours is in the image
    assert everything["triton"]["user"] == "10001:10001"  # as in the image of the gateway, whose memory it shares


def test_servers_start_again_by_themselves_and_jobs_do_not(compose: Compose) -> None:
    for name, service in services(compose, "gpu", "cpu", "observability", "tools").items():
        assert service["restart"] == ("no" if name in {"export", "keys"} else "unless-stopped"), name


def test_models_are_written_by_the_export_alone(compose: Compose) -> None:
    for name, service in services(compose, "gpu", "cpu", "tools").items():
        mounts = [mount for mount in service.get("volumes", []) if mount["target"] == "/models"]
        assert all(mount.get("read_only", False) == (name != "export") for mount in mounts), name


def test_only_this_host_reaches_what_is_published(compose: Compose) -> None:
    for name, service in services(compose, "gpu", "cpu", "observability").items():
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
        assert bool(service.get("ports")) == (name in {"gateway", "gateway-cpu", "prometheus", "grafana"}), name


def test_images_are_pinned_to_a_version(compose: Compose) -> None:
    for name, service in services(compose, "gpu", "cpu", "observability").items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-py3)?$", service["image"]), name


def test_a_secret_is_a_file_that_git_leaves_out(compose: Compose) -> None:
    """Compose copies one of a variable into its container, and refuses to where that is read-only."""
    config = compose("gpu", "cpu", "observability", "tools")
    used = {mount["source"] for service in config["services"].values() for mount in service.get("secrets", [])}
    assert used == {*config["secrets"]}
    ignored = (DOCKER / ".gitignore").read_text().split()
    for secret in config["secrets"].values():
        assert f"/{Path(secret['file']).relative_to(DOCKER)}" in ignored
    grafana = config["services"]["grafana"]
    [mount] = grafana["secrets"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == f"/run/secrets/{mount['source']}"


def test_grafana_reaches_prometheus_alone_and_prometheus_all_that_it_watches(compose: Compose) -> None:
    everything = services(compose, "gpu", "cpu", "observability", "tools")
    networks = {name: {*service.get("networks", {})} for name, service in everything.items()}
    assert {name for name in networks if networks[name] & networks["grafana"]} == {"grafana", "prometheus"}
    for name in ("gateway", "gateway-cpu", "triton", "milvus"):
        assert networks[name] & networks["prometheus"], name


def test_the_environment_is_what_the_gateway_reads(compose: Compose) -> None:
    for name in ("gateway", "gateway-cpu", "keys"):
        for variable in services(compose, "gpu", "cpu", "tools")[name]["environment"]:
            assert variable.removeprefix("AURICLE_").lower() in Settings.model_fields, variable


def test_the_host_sets_limits_and_else_the_gateway_has_its_own(compose: Compose) -> None:
    for name in ("gateway", "gateway-cpu"):
        unset = {key for key, value in services(compose, "gpu", "cpu")[name]["environment"].items() if value is None}
        assert {"AURICLE_MAX_QUEUE_S", "AURICLE_DEADLINE_S", "AURICLE_RATE_LIMIT"} <= unset
        given = dict.fromkeys(unset, "1")
        assert given.items() <= compose("gpu", "cpu", **given)["services"][name]["environment"].items()


def test_a_server_has_longer_to_stop_than_it_gives_its_requests(compose: Compose) -> None:
    found = services(compose, "gpu")
    grace = int(found["gateway"]["environment"]["AURICLE_SHUTDOWN_GRACE_S"])
    assert found["gateway"]["stop_grace_period"] == "45s"
    assert grace < 45
    assert "--exit-timeout-secs=30" in found["triton"]["command"]


def test_several_gateways_share_a_range_of_ports(compose: Compose) -> None:
    port = compose("gpu", AURICLE_PORTS="8080-8083")["services"]["gateway"]["ports"][0]
    assert (port["published"], port["target"]) == ("8080-8083", 8080)


def test_a_broken_file_is_not_passed(tmp_path: Path) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    broken = tmp_path / "compose.yaml"
    broken.write_text(text.replace("restart: unless-stopped", "restarts: unless-stopped"))
    result = subprocess.run(["docker-compose", "-f", broken, "config", "-q"], capture_output=True, check=False)
    assert result.returncode != 0


def tokenize(gateway: Gateway) -> int:
    headers = gateway.headers | {"Content-Type": "audio/flac"}
    body = sounds.encoded(sounds.clip(), "flac")
    return httpx.post(f"{gateway.url}/v1/tokenize", content=body, headers=headers, timeout=60).status_code


def test_the_gateway_answers_from_triton_under_both_command_lines(gateway: Gateway, triton: Triton) -> None:
    assert tokenize(gateway) == 200
    assert httpx.get(f"http://127.0.0.1:{triton.http_port}/v2/health/ready").status_code == 200  # its health check
    metrics = httpx.get(f"http://{triton.metrics_address}/metrics").text
    assert 'nv_inference_request_success{model="tokenizer_encoder"' in metrics


def test_the_gateway_answers_alone_in_the_profile_cpu(compose: Compose, triton: Triton, tmp_path: Path) -> None:
    found = services(compose, "cpu", "tools")
    with Gateway(
        found["gateway-cpu"], found["keys"], tmp_path, AURICLE_MODEL_REPOSITORY=str(triton.repository)
    ) as gateway:
        assert tokenize(gateway) == 200


def test_the_health_check_of_the_image_tells_a_gateway_from_none(gateway: Gateway) -> None:
    text = (DOCKER / "gateway.Dockerfile").read_text().replace("\\\n", "")
    check = re.search(r"^HEALTHCHECK .* CMD \[(.*)\]$", text, re.MULTILINE)
    assert check is not None
    assert "127.0.0.1:8080" in check[1]

    def run(address: str) -> int:
        python, *arguments = (part.strip(",") for part in shlex.split(check[1].replace("127.0.0.1:8080", address)))
        assert python == "python"
        return subprocess.run([sys.executable, *arguments], capture_output=True, check=False).returncode

    assert run(gateway.address) == 0
    assert run("127.0.0.1:1") == 1
