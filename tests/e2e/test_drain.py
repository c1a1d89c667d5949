"""SIGTERM: the service says that it goes, finishes what it has begun, and cuts off what does not end in time."""

import json
import re
import socket
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect

from tests import sounds
from tests.e2e.conftest import Service

SHUTTING_DOWN = re.compile("Shutting down")
SAMPLES = np.rint(sounds.clip() * 32767).astype("<i2").tobytes()


def connection(service: Service) -> socket.socket:
    parts = urlsplit(service.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30)


def stream(service: Service) -> ClientConnection:
    """An open stream that has been answered."""
    opened = connect(service.url.replace("http", "ws") + "/v1/tokenize/stream")
    opened.send(json.dumps({"type": "start", "format": "pcm_s16le", "sample_rate": 16000}))
    assert json.loads(opened.recv())["type"] == "started"
    return opened


def no_traceback(service: Service) -> bool:
    return not any("Traceback" in line for line in service.lines)


def test_a_stream_goes_on_to_its_end(service: Service) -> None:
    with stream(service) as opened:
        service.terminate()
        service.wait_for(SHUTTING_DOWN)
        opened.send(SAMPLES)
        opened.send('{"type": "end"}')
        messages = [json.loads(message) for message in opened]
    assert messages[-1]["is_final"]
    assert messages[-1]["num_samples"] == len(SAMPLES) // 2
    assert service.end() == 0
    assert no_traceback(service)


@pytest.mark.parametrize("service", [{"AURICLE_SHUTDOWN_DELAY_S": "600"}], indirect=True)
def test_readiness_goes_first_and_work_is_still_taken_for_the_delay(service: Service) -> None:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        assert client.get("/readyz").status_code == 200
        service.terminate()
        service.wait_for(SHUTTING_DOWN)
        with httpx.Client(base_url=service.url) as balancer:
            answer = balancer.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["detail"] == "The service is shutting down."
        assert client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "flac")).status_code == 200
        assert client.get("/livez").status_code == 200
    service.process.kill()


@pytest.mark.parametrize("service", [{"AURICLE_SHUTDOWN_GRACE_S": "0.5"}], indirect=True)
def test_what_does_not_end_in_time_is_cut_off_with_words_and_without_tracebacks(service: Service) -> None:
    body = sounds.encoded(np.tile(sounds.clip(), 200), "wav")
    head = f"POST /v1/detokenize HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    tokens = httpx.post(f"{service.url}/v1/tokenize", content=body, timeout=60).content
    ask = f"POST /v1/detokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(tokens)}"
    with connection(service) as sender, connection(service) as taker, connection(service) as idle:
        idle.sendall(b"GET /livez HTTP/1.1\r\nHos")
        sender.sendall(head + body[:1000])  # and no more
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        taker.sendall(f"{ask}\r\n\r\n".encode() + tokens)
        assert taker.recv(12) == b"HTTP/1.1 200"  # and no more of the megabytes that follow
        with stream(service) as silent:
            service.terminate()
            told = time.monotonic()
            with pytest.raises(ConnectionClosedError) as closed:
                silent.recv(timeout=30)
        answer = b"".join(iter(lambda: sender.recv(1 << 16), b""))
        assert service.end() == 0
        assert time.monotonic() - told < 10
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012  # the service restarts
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "urn:problem-type:service-unavailable"
    assert no_traceback(service), "".join(service.lines)
