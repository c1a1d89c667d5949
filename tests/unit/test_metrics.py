"""What an operator's dashboards and alerts are drawn against: names, labels and values."""

from collections.abc import Callable

import pytest

from service.web.metrics import Metrics
from service.web.trace import Trace


def _request(metrics: Metrics) -> None:
    trace = Trace("id", stages={"infer": 0.5}, problem="overloaded")
    metrics.on_request("/v1/tokenize", "POST", 503, trace, "studio")


@pytest.mark.parametrize(
    ("event", "sample", "labels", "value"),
    [
        (
            _request,
            "auricle_requests_total",
            {"route": "/v1/tokenize", "method": "POST", "status": "503", "key": "studio"},
            1,
        ),
        (_request, "auricle_stage_duration_seconds_sum", {"route": "/v1/tokenize", "stage": "infer"}, 0.5),
        (_request, "auricle_problems_total", {"route": "/v1/tokenize", "reason": "overloaded"}, 1),
        (lambda m: m.on_admission(3.5, 10.0), "auricle_admitted_work", {}, 3.5),
        (lambda m: m.on_admission(3.5, 10.0), "auricle_admission_capacity", {}, 10),
        (lambda m: m.on_batch("a", 4, 0.25, 2.0), "auricle_batch_size_sum", {"model": "a", "backend": "triton"}, 4),
        (lambda m: m.on_batch("a", 4, 0.25, 2.0), "auricle_queue_duration_seconds_sum", {"model": "a"}, 0.25),
        (
            lambda m: m.on_batch("a", 4, 0.25, 2.0),
            "auricle_inference_duration_seconds_sum",
            {"model": "a", "backend": "triton"},
            2,
        ),
        (lambda m: m.on_queue("a", 7), "auricle_queue_depth", {"model": "a"}, 7),
        (
            lambda m: m.on_refused("a", "overloaded"),
            "auricle_refusals_total",
            {"model": "a", "reason": "overloaded"},
            1,
        ),
        (lambda m: m.on_reload("a", 3, "loaded"), "auricle_model_version", {"model": "a"}, 3),
        (
            lambda m: m.on_reload("a", 3, "loaded"),
            "auricle_model_reloads_total",
            {"model": "a", "outcome": "loaded"},
            1,
        ),
        (lambda m: m.on_server("t:1", up=True, outstanding=2), "auricle_triton_server_up", {"server": "t:1"}, 1),
        (lambda m: m.on_server("t:1", up=False, outstanding=2), "auricle_triton_server_up", {"server": "t:1"}, 0),
        (lambda m: m.on_server("t:1", up=True, outstanding=2), "auricle_triton_outstanding", {"server": "t:1"}, 2),
        (lambda m: m.on_retry("t:1"), "auricle_triton_retries_total", {"server": "t:1"}, 1),
        (lambda m: m.on_ejected("t:1"), "auricle_triton_ejections_total", {"server": "t:1"}, 1),
        (lambda m: m.on_shared_memory("t:1", 4096), "auricle_shared_memory_bytes", {"server": "t:1"}, 4096),
    ],
)
def test_an_event_becomes_a_sample(
    event: Callable[[Metrics], None], sample: str, labels: dict[str, str], value: float
) -> None:
    metrics = Metrics("triton")
    event(metrics)
    assert metrics.registry.get_sample_value(sample, labels) == value
