"""Prometheus and the dashboard, on a real run: requests through the gateway to Triton, and what is seen of them."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.docker.conftest import DOCKER, ROOT
from tests.docker.processes import Gateway, Prometheus, Triton, metric_names

DASHBOARD = DOCKER / "grafana" / "dashboards" / "auricle.json"
PROVISIONING = DOCKER / "grafana" / "provisioning"
VARIABLES = {"$__rate_interval": "30s", "$route": "/v1/.*", "$instance": ".*"}
NEEDS_A_GPU = re.compile("nv_gpu_")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield f"{panel['title']} {target['refId']}", expression


def test_promtool_accepts_the_configuration_and_its_rules(promtool: Callable[..., str]) -> None:
    assert "SUCCESS" in promtool("check", "config", DOCKER / "prometheus" / "prometheus.yaml")


def test_alerts_fire_when_they_should_and_only_then(promtool: Callable[..., str]) -> None:
    file = ROOT / "tests" / "docker" / "alerts.test.yaml"
    assert "SUCCESS" in promtool("test", "rules", file)
    alerts = yaml.safe_load((DOCKER / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]
    tested = [
        case["alertname"] for test in yaml.safe_load(file.read_text())["tests"] for case in test["alert_rule_test"]
    ]
    assert {rule["alert"] for rule in alerts} == {*tested}


def test_alerts_and_dashboard_only_name_what_is_measured(gateway: Gateway, triton: Triton) -> None:
    known = {"up"}
    for url in (f"{gateway.url}/metrics", f"http://{triton.metrics_address}/metrics"):
        known |= metric_names(httpx.get(url, timeout=10).text)
    rules = (DOCKER / "prometheus" / "alerts.yaml").read_text()
    for text in (rules, *(expression for _, expression in queries())):
        for name in re.findall(r"\b(?:auricle|process|nv)_\w+", text):
            assert name in known or NEEDS_A_GPU.match(name), name


@pytest.mark.parametrize(("name", "expression"), list(queries()), ids=[name for name, _ in queries()])
def test_every_query_of_the_dashboard_is_answered(busy: Prometheus, name: str, expression: str) -> None:
    if NEEDS_A_GPU.match(expression):
        assert busy.query(expression) == []  # no error; there is nothing to measure on this machine
    else:
        assert busy.answers(expression), busy.log.read_text()[-2000:]


def test_the_dashboard_chooses_among_gateways_and_routes(busy: Prometheus) -> None:
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
        assert busy.answers(f"count by ({label}) ({metric})"), variable["name"]
        assert variable["allValue"] == VARIABLES[f"${variable['name']}"]  # probes are no requests of users


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "auricle.yaml").read_text())["providers"]
    assert all(panel["datasource"]["uid"] == source["uid"] for panel in panels())
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_panels_are_named_once_and_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in panels()]
    cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
    assert len(cells) == len(set(cells))
    assert all(p["x"] + p["w"] <= 24 for p in places)
    assert len({panel["id"] for panel in panels()}) == len({panel["title"] for panel in panels()}) == len(panels())
