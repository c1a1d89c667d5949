"""Probes, metrics, documentation, and what every answer carries."""

import json
import logging
import re
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from service.web.logs import JsonFormatter
from tests import sounds, tiny
from tests.api.conftest import MakeSettings, in_memory


async def test_probes_tell_that_the_service_is_alive_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).json() == {"status": "live"}
    ready = await client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["models"] == [
        "acoustic_maps",
        "audio_embedder",
        "text_embedder",
        "tokenizer_decoder",
        "tokenizer_encoder",
        "vocoder",
    ]


async def test_an_empty_repository_is_alive_and_says_what_is_missing(tmp_path: Path) -> None:
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        assert (await client.get("/livez")).status_code == 200
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        "/models/acoustic_maps",
        "/models/audio_embedder",
        "/models/text_embedder",
        "/models/tokenizer_encoder",
        "/models/tokenizer_decoder",
    }


async def test_a_triton_server_that_is_not_there_makes_the_service_unready_but_not_dead() -> None:
    async with in_memory(create_app(Settings(triton_url="127.0.0.1:9"))) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        answer = await client.post("/v1/tokenize", content=b"RIFF")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:problem-type:backend-unavailable"


async def test_a_capability_without_its_models_is_listed_as_not_served_and_refuses(tmp_path: Path) -> None:
    tiny.build(tmp_path, "tokenizer_encoder")
    async with in_memory(create_app(Settings(model_repository=tmp_path))) as client:
        entries = (await client.get("/v1/models")).json()["models"]
        description = await client.get("/v1/models/tokenizer")
        answer = await client.post("/v1/tokenize", content=b"RIFF")
    entry = next(entry for entry in entries if entry["name"] == "tokenizer")
    assert (entry["served"], entry["missing"]) == (False, ["tokenizer_decoder"])
    assert description.status_code == answer.status_code == 404
    assert answer.json()["type"] == "urn:problem-type:model-not-found"


async def test_the_tokenizer_states_its_rates_grid_and_ids(client: httpx.AsyncClient) -> None:
    model = (await client.get("/v1/models/tokenizer")).json()
    assert model["codebook_size"] == 2**18
    assert (model["tokens_per_second"], model["bits_per_second"]) == (50, 900)
    assert model["grid"] == {
        "time_patch": 8,
        "freq_patch": 32,
        "bands": 4,
        "steps_per_second": 12.5,
        "order": "time-major",
    }
    assert [entry["codebooks"] for entry in model["codebooks"]] == [1, 2, 3, 6, 9, 18]
    assert model["codebooks"][1]["offsets"] == [0, 512]
    assert model["model_digest"] == tiny.DIGEST
    assert model["vocoder"] == "neural"
    assert model["limits"]["max_audio_s"] == 3600
    assert [served["name"] for served in model["models"]] == ["tokenizer_encoder", "tokenizer_decoder", "vocoder"]
    assert model["models"][0]["versions"] == [1]


async def test_an_unknown_model_is_a_problem_that_names_the_known_ones(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models/nothing")
    assert answer.status_code == 404
    assert "tokenizer" in answer.json()["detail"]


async def test_the_client_s_request_id_comes_back_and_an_unsafe_one_is_replaced(client: httpx.AsyncClient) -> None:
    kept = await client.get("/livez", headers={"X-Request-Id": "job-17/3"})
    assert kept.headers["x-request-id"] == "job-17/3"
    replaced = await client.get("/livez", headers={"X-Request-Id": 'x" onload="'})
    assert re.fullmatch("[0-9a-f]{32}", replaced.headers["x-request-id"])


async def test_a_problem_carries_the_request_id(client: httpx.AsyncClient) -> None:
    answer = await client.get("/nothing", headers={"X-Request-Id": "abc"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:problem-type:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
        "request_id": "abc",
    }


async def test_a_wrong_method_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/tokenize")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["type"] == "urn:problem-type:method-not-allowed"


async def test_the_stream_s_address_asks_for_an_upgrade(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/tokenize/stream")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


async def test_an_unexpected_failure_says_nothing_but_its_request_id(
    make_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(make_settings())

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is swordfish")

    async with in_memory(app) as client:
        answer = await client.get("/broken")
        metrics = (await client.get("/metrics")).text
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:problem-type:internal-error"
    assert "swordfish" not in answer.text
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert any(record.exc_info and "swordfish" in str(record.exc_info[1]) for record in caplog.records)
    assert 'auricle_problems_total{reason="internal-error",route="/broken"} 1.0' in metrics


async def test_every_request_leaves_one_structured_line_without_its_payload(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "auricle.request")
    body = sounds.encoded(sounds.clip(), "wav")
    answer = await client.post("/v1/tokenize", content=body)
    (record,) = (record for record in caplog.records if record.name == "auricle.request")
    line = json.loads(JsonFormatter().format(record))
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/tokenize", 200)
    assert (line["bytes_in"], line["bytes_out"]) == (len(body), len(answer.content))
    assert set(line["stages_ms"]) == {"decode", "preprocess", "infer", "postprocess", "encode"}
    assert "tokens" not in line


async def test_server_timing_has_the_five_stages(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "flac"))
    stages = re.findall(r"(\w+);dur=([\d.]+)", answer.headers["server-timing"])
    assert [name for name, _ in stages] == ["decode", "preprocess", "infer", "postprocess", "encode", "total"]
    assert 0 < float(dict(stages)["infer"]) <= float(dict(stages)["total"])


async def test_metrics_count_routes_stages_batches_and_problems(client: httpx.AsyncClient) -> None:
    await client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "flac"))
    await client.post("/v1/tokenize", content=b"not audio at all")
    metrics = (await client.get("/metrics")).text
    assert 'auricle_requests_total{key="",method="POST",route="/v1/tokenize",status="200"} 1.0' in metrics
    assert 'auricle_problems_total{reason="unsupported-media",route="/v1/tokenize"} 1.0' in metrics
    assert 'auricle_request_duration_seconds_count{route="/v1/tokenize"} 2.0' in metrics
    assert 'auricle_stage_duration_seconds_count{route="/v1/tokenize",stage="infer"} 1.0' in metrics
    assert re.search(r'auricle_batch_size_count\{backend="(embedded|triton)",model="tokenizer_encoder"\} 1\.0', metrics)
    assert re.search(r"process_resident_memory_bytes [1-9]", metrics)
    assert 'auricle_queue_depth{model="tokenizer_encoder"} 0.0' in metrics
    assert "auricle_requests_in_flight 1.0" in metrics  # this one


async def test_metrics_do_not_grow_with_paths_and_methods_that_clients_invent(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await client.request(f"BREW{name}", f"/{name}")
    metrics = (await client.get("/metrics")).text
    assert 'auricle_requests_total{key="",method="OTHER",route="unmatched",status="404"} 3.0' in metrics


async def test_docs_work_without_any_other_host(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).headers["location"] == "/docs"
    page = await client.get("/docs")
    assert "://" not in page.text
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert (await client.get(asset)).status_code == 200


async def test_openapi_describes_every_route_and_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) >= {
        *("/livez", "/readyz", "/metrics", "/v1/models", "/v1/models/{name}"),
        *("/v1/tokenize", "/v1/detokenize", "/v1/tokenize/stream"),
        *("/v1/spatial-cues", "/v1/reverberation"),
    }
    for path in ("/v1/tokenize", "/v1/detokenize"):
        operation = document["paths"][path]["post"]
        assert {"400", "404", "406", "408", "413", "415", "422", "500", "503", "504"} <= set(operation["responses"])
        for status, response in operation["responses"].items():
            if status != "200":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json"
                assert response["content"][media_type]["examples"]
        assert operation["requestBody"]["content"]
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), parameter["name"]
    assert "409" in document["paths"]["/v1/detokenize"]["post"]["responses"]


async def test_the_documented_examples_of_detokenize_work(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    body = document["paths"]["/v1/detokenize"]["post"]["requestBody"]["content"]["application/json"]
    assert len(body["examples"]) == 2
    for example in body["examples"].values():
        answer = await client.post("/v1/detokenize", json=example["value"])
        assert answer.status_code == 200, answer.text
