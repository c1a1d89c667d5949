"""An OpenTelemetry collector on a free port of 127.0.0.1 that keeps the spans which it is sent, as OTLP over HTTP."""

import base64
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """One span as it came over the wire; ids in hexadecimal digits."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int  # nanoseconds
    end: int
    failed: bool
    attributes: dict[str, object]


class Collector:
    """`received` is in the order of arrival."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received: queue.Queue[Seen] = queue.Queue()

    def spans(self, *names: str) -> dict[str, Seen]:
        """Waits until there is a span of each name; the first of each."""
        found: dict[str, Seen] = {}
        while missing := set(names) - set(found):
            try:
                span = self.received.get(timeout=30)
            except queue.Empty:
                raise AssertionError(f"no {sorted(missing)} after {sorted(found)}") from None
            found.setdefault(span.name, span)
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.collector = Collector(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.collector  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest()
        if "json" in self.headers["Content-Type"]:  # as Triton sends it
            json_format.Parse(body, request)
        else:
            request.ParseFromString(body)
        for span in _spans(request, _hex if "json" in self.headers["Content-Type"] else bytes.hex):
            self.server.collector.received.put(span)  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def _hex(parsed: bytes) -> str:
    """OTLP's JSON has ids in hexadecimal digits, and protobuf's parser takes them for base64."""
    return base64.b64encode(parsed).decode()


def _spans(request: ExportTraceServiceRequest, digits: Callable[[bytes], str]) -> Iterator[Seen]:
    for resource in request.resource_spans:
        service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Seen(
                service=service,
                name=span.name,
                trace_id=digits(span.trace_id),
                span_id=digits(span.span_id),
                parent_id=digits(span.parent_span_id),
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                attributes={a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes},
            )
