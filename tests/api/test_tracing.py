"""Traces: from the client's `traceparent` over the stages to the real Triton, as a collector gets them."""

import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from service.web.logs import JsonFormatter
from tests import sounds, tiny
from tests.api.conftest import in_memory
from tests.collector import Collector, Seen, collector
from tests.tritonserver.server import TritonServer

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
STAGES = ("decode", "preprocess", "infer", "postprocess", "encode")


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as running:
        yield running


async def tokenize(client: httpx.AsyncClient) -> httpx.Response:
    answer = await client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "flac"), headers=TRACEPARENT)
    assert answer.status_code == 200, answer.text
    return answer


def check(request: Seen, stages: list[Seen]) -> None:
    assert (request.service, request.trace_id, request.parent_id) == ("auricle", TRACE, PARENT)
    assert request.attributes["http.response.status_code"] == 200
    for stage in stages:
        assert (stage.trace_id, stage.parent_id) == (TRACE, request.span_id)
        assert request.start <= stage.start < stage.end <= request.end
        assert 0 < float(str(stage.attributes["auricle.stage.busy_ms"])) * 1e6 <= request.end - request.start


async def test_a_request_and_its_five_stages_are_part_of_the_clients_trace(
    repository: Path, collected: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auricle.request")
    settings = Settings(model_repository=repository, otlp_endpoint=collected.url)
    async with in_memory(create_app(settings)) as client:
        await client.get("/readyz")
        answer = await tokenize(client)
    spans = collected.spans("POST /v1/tokenize", *STAGES)
    check(spans["POST /v1/tokenize"], [spans[stage] for stage in STAGES])
    assert spans["POST /v1/tokenize"].attributes["auricle.request_id"] == answer.headers["x-request-id"]
    assert collected.received.empty()  # a probe is no trace
    probe, line = (json.loads(JsonFormatter().format(r)) for r in caplog.records if r.name == "auricle.request")
    assert line["trace_id"] == TRACE
    assert "trace_id" not in probe


@pytest.mark.tritonserver
async def test_triton_goes_on_with_the_trace(repository: Path, tmp_path: Path, collected: Collector) -> None:
    options = ("mode=opentelemetry", "level=TIMESTAMPS", "rate=1", f"opentelemetry,url={collected.url}/v1/traces")
    server = TritonServer(repository, tmp_path, flags=[f"--trace-config={option}" for option in options])
    try:
        server.start()
        async with in_memory(create_app(Settings(triton_url=server.url, otlp_endpoint=collected.url))) as client:
            await tokenize(client)
        ours = collected.spans("POST /v1/tokenize", *STAGES, "infer tokenizer_encoder")
        theirs = collected.spans("InferRequest", "tokenizer_encoder", "compute")
    finally:
        server.kill()
    check(ours["POST /v1/tokenize"], [ours[stage] for stage in STAGES])
    call = ours["infer tokenizer_encoder"]
    assert call.parent_id == ours["infer"].span_id
    assert (theirs["InferRequest"].trace_id, theirs["InferRequest"].parent_id) == (TRACE, call.span_id)


async def test_a_failure_is_seen_as_one_and_a_refusal_is_none(tmp_path: Path, collected: Collector) -> None:
    tiny.break_vocoder(tiny.build(tmp_path))
    tokens = {"model_digest": tiny.DIGEST, "num_samples": 1280, "tokens": [[0, 0, 0, 0]]}
    async with in_memory(create_app(Settings(model_repository=tmp_path, otlp_endpoint=collected.url))) as client:
        assert (await client.post("/v1/detokenize", json=tokens)).status_code == 500
        assert (await client.post("/v1/tokenize", content=b"no sound")).status_code == 415
    spans = collected.spans("POST /v1/detokenize", "POST /v1/tokenize")
    assert spans["POST /v1/detokenize"].failed
    assert spans["POST /v1/detokenize"].attributes["error.type"] == "inference-failed"
    assert not spans["POST /v1/tokenize"].failed


async def test_a_collector_that_is_down_costs_spans_and_nothing_else(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(model_repository=repository, otlp_endpoint=f"http://127.0.0.1:{port}")
    async with in_memory(create_app(settings)) as client:
        await tokenize(client)
        ended = time.monotonic()
    assert time.monotonic() - ended < 10
