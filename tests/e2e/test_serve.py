"""`auricle serve`: starts, serves, drains."""

import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from tests import sounds, tiny
from tests.e2e.conftest import Service, auricle


def test_a_recording_goes_through_tokens_and_back(service: Service) -> None:
    body = sounds.encoded(sounds.clip(), "flac")
    with httpx.Client(base_url=service.url, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        tokens = client.post("/v1/tokenize", content=body, headers={"Content-Type": "audio/flac"})
        assert tokens.status_code == 200, tokens.text
        wav = client.post("/v1/detokenize", content=tokens.content, headers={"Content-Type": "application/json"})
    assert wav.status_code == 200, wav.text
    assert len(wav.content) == 44 + 2 * tokens.json()["num_samples"]
    line = json.loads(service.wait_for(re.compile(r'^(\{.*"route": "/v1/detokenize".*\})')))
    assert line["status"] == 200


def test_a_stream_runs_over_the_real_socket(service: Service) -> None:
    samples = np.rint(sounds.clip() * 32767).astype("<i2").tobytes()
    with connect(service.url.replace("http", "ws") + "/v1/tokenize/stream") as stream:
        stream.send(json.dumps({"type": "start", "format": "pcm_s16le", "sample_rate": 16000}))
        for i in range(0, len(samples), 3001):
            stream.send(samples[i : i + 3001])
        stream.send('{"type": "end"}')
        messages = [json.loads(message) for message in stream]
    assert [message["type"] for message in messages[:2]] == ["started", "tokens"]
    assert messages[-1]["is_final"]
    assert messages[-1]["num_samples"] == len(samples) // 2


def knock_until_refused(address: tuple[str, int]) -> None:
    while True:  # the log line comes a moment before the door is shut
        socket.create_connection(address).close()


def test_sigterm_finishes_what_is_in_flight_refuses_the_new_and_exits_with_0(service: Service) -> None:
    address = (str(urlsplit(service.url).hostname), int(urlsplit(service.url).port or 0))
    body = sounds.encoded(sounds.clip(), "flac")
    head = f"POST /v1/tokenize HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(address) as connection:
        connection.sendall(head + body[:1000])
        with httpx.Client(base_url=service.url) as client:  # its answer says that the request above is being read
            while "auricle_requests_in_flight 2.0" not in client.get("/metrics").text:
                pass
        service.terminate()
        service.wait_for(re.compile("Shutting down"))
        with pytest.raises(ConnectionRefusedError):
            knock_until_refused(address)
        connection.sendall(body[1000:])
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert service.process.wait(30) == 0


def test_a_broken_repository_is_reported_and_the_exit_code_is_1(tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer_encoder"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text("this is no configuration")
    result = auricle(tmp_path, "serve", "--port", "0")
    assert result.returncode == 1
    assert "config.pbtxt" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_graph_that_does_not_load_ends_the_start(tmp_path: Path) -> None:
    tiny.build(tmp_path)
    (tmp_path / "vocoder" / "1" / "model.onnx").write_bytes(b"not a graph")
    result = auricle(tmp_path, "serve", "--port", "0")
    assert result.returncode == 1
    assert "vocoder" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_wrong_setting_is_named_and_the_exit_code_is_2(repository: Path) -> None:
    result = auricle(repository, "serve", "--port", "99999")
    assert result.returncode == 2
    assert "AURICLE_PORT" in result.stderr


def test_an_address_that_others_reach_is_refused_without_keys_and_the_way_out_is_told(repository: Path) -> None:
    result = auricle(repository, "serve", "--host", "0.0.0.0", "--port", "0")
    assert result.returncode == 1
    for words in ("auricle keys add", "AURICLE_API_KEYS_FILE", "AURICLE_ALLOW_ANONYMOUS"):
        assert words in result.stderr


def test_a_port_that_is_taken_is_reported(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = auricle(repository, "serve", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1
    assert "address already in use" in result.stderr
