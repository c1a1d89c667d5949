"""The manifests: what kustomize makes of them, against the schemas of Kubernetes and against each other."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.docker.conftest import DOCKER, Compose
from tests.docker.processes import Prometheus

FOLDER = DOCKER / "kubernetes"
KUBERNETES = "1.32"
MADE_BY_HAND = {"auricle-keys", "auricle-store"}

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Manifest]:
    """All that `kubectl apply -k` sends, and the job that is created by itself."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    built = subprocess.run(["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return [*yaml.safe_load_all(built.stdout), *yaml.safe_load_all((FOLDER / "publish.yaml").read_text())]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    for manifest in of_kind(manifests, "Deployment", "Job"):
        yield manifest["spec"]["template"]


def containers(manifests: list[Manifest]) -> Iterator[Manifest]:
    for pod in pods(manifests):
        yield from pod["spec"].get("initContainers", [])
        yield from pod["spec"]["containers"]


def test_every_manifest_fits_its_schema(manifests: list[Manifest]) -> None:
    assert len(manifests) > 12
    for manifest in manifests:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_a_manifest_that_does_not_fit_is_told(manifests: list[Manifest]) -> None:
    [deployment, *_] = of_kind(manifests, "Deployment")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            deployment | {"spec": deployment["spec"] | {"replica": 2}}, KUBERNETES, strict=True
        )


def test_selectors_find_pods(manifests: list[Manifest]) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(manifests)]
    for manifest in of_kind(manifests, "Deployment", "Service", "PodDisruptionBudget"):
        selector = manifest["spec"]["selector"]
        assert selector.get("matchLabels", selector) in labels, manifest["metadata"]["name"]


def test_what_the_gateway_asks_inside_lets_it_in(manifests: list[Manifest]) -> None:
    policies = {m["metadata"]["name"]: m["spec"] for m in of_kind(manifests, "NetworkPolicy")}
    inside = [rule for rule in policies["gateway"]["egress"] if "to" in rule]
    assert len(inside) == 2
    for rule in inside:
        [asked] = rule["to"]
        let_in = {"from": [{"podSelector": policies["gateway"]["podSelector"]}], "ports": rule["ports"]}
        asked_pods = [policy for policy in policies.values() if policy["podSelector"] == asked["podSelector"]]
        assert any(let_in in policy.get("ingress", []) for policy in asked_pods), asked


def test_autoscalers_scale_what_there_is_by_what_is_measured(manifests: list[Manifest]) -> None:
    deployments = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "Deployment")}
    rules = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    measured = {rule["name"]["as"] for rule in rules}
    autoscalers = of_kind(manifests, "HorizontalPodAutoscaler")
    assert {autoscaler["spec"]["scaleTargetRef"]["name"] for autoscaler in autoscalers} == deployments
    for autoscaler in autoscalers:
        queues = [metric["pods"]["metric"]["name"] for metric in autoscaler["spec"]["metrics"] if "pods" in metric]
        assert queues
        assert {*queues} <= measured


def test_prometheus_answers_what_the_autoscalers_ask(busy: Prometheus) -> None:
    for rule in yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]:
        query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'job!=""').replace("<<.GroupBy>>", "job")
        assert busy.answers(query), query


def test_what_pods_refer_to_is_made(manifests: list[Manifest]) -> None:
    made = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ConfigMap")} | MADE_BY_HAND
    for container in containers(manifests):
        for source in container.get("envFrom", []):
            assert (source.get("configMapRef") or source["secretRef"])["name"] in made
    for pod in pods(manifests):
        for volume in pod["spec"]["volumes"]:
            assert volume.get("secret", {}).get("secretName", "auricle-keys") in made


def test_containers_may_do_little(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in containers(manifests):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_a_gateway_has_longer_to_stop_than_it_gives_its_requests(manifests: list[Manifest]) -> None:
    [settings] = [m["data"] for m in of_kind(manifests, "ConfigMap") if "AURICLE_HOST" in m["data"]]
    for name in settings:
        assert name.removeprefix("AURICLE_").lower() in Settings.model_fields, name
    grace = float(settings["AURICLE_SHUTDOWN_DELAY_S"]) + float(settings["AURICLE_SHUTDOWN_GRACE_S"])
    [gateway] = [m for m in of_kind(manifests, "Deployment") if m["metadata"]["name"] == "gateway"]
    assert grace < gateway["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_the_same_triton_runs_in_both_places(manifests: list[Manifest], compose: Compose) -> None:
    [there] = [c for c in containers(manifests) if c["name"] == "triton"]
    here = compose("gpu")["services"]["triton"]
    assert there["image"] == here["image"]
    assert {"--model-config-name=gpu", "--disable-auto-complete-config"} <= {*there["command"]} & {*here["command"]}
