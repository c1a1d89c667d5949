"""The outermost middleware: request id, one log line, metrics, span and Server-Timing for every request."""

import logging
from typing import Any, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import spans
from service.spans import Attributes, Span
from service.web import logs
from service.web.metrics import Metrics
from service.web.trace import Trace, request_id

logger = logging.getLogger("auricle.request")

CLIENT_GONE = 499  # what proxies log for a client that left before the answer


# A method is the client's own text; the metrics must not grow with what clients invent.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_PROBES = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds, and never worth a trace


class Tracing(Protocol):
    """What makes the span of a request: `service.web.tracing.OpenTelemetry`."""

    def request(self, name: str, headers: Headers, attributes: Attributes) -> Span:
        """It begins now."""

    def close(self) -> None:
        """Sends what is left. Blocks."""


class Telemetry:
    """Puts a Trace into the request's state and reports on it at the end. Payloads are never looked at."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self.app = app
        self.metrics = metrics
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        trace = self._begin(scope)
        scope.setdefault("state", {})["trace"] = trace
        status, received, sent = CLIENT_GONE, 0, 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            return message

        async def traced(message: Message) -> None:
            nonlocal status, sent
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    status = message["status"]
                    headers = MutableHeaders(scope=message)
                    headers["X-Request-Id"] = trace.request_id
                    headers["Server-Timing"] = trace.server_timing()
                case "websocket.accept":
                    MutableHeaders(raw=message.setdefault("headers", []))
                    message["headers"] = [*message["headers"], (b"x-request-id", trace.request_id.encode())]
                case "websocket.close":
                    status = message["code"]
                case _:
                    sent += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            await send(message)

        self.metrics.in_flight.inc()
        try:
            with spans.within(trace.span), logs.bound(_ids(trace)):
                await self.app(scope, counted, traced)
        finally:
            self.metrics.in_flight.dec()
            self._report(scope, trace, status, received, sent)

    def _begin(self, scope: Scope) -> Trace:
        headers = Headers(scope=scope)
        trace = Trace(request_id(headers.get("x-request-id")))
        if self.tracing and scope["path"] not in _PROBES:
            trace.span = self.tracing.request(_method(scope), headers, {"url.path": scope["path"][:200]})
        return trace

    def _report(self, scope: Scope, trace: Trace, status: int, received: int, sent: int) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        method, key = _method(scope), scope.get("auricle.key", "")
        self.metrics.on_request(route, method, status, trace, key)
        fields: dict[str, Any] = {
            **_ids(trace),
            "method": method,
            "path": scope["path"][:200],
            "route": route,
            "status": status,
            "duration_ms": round(trace.elapsed() * 1000, 1),
            "stages_ms": {name: round(seconds * 1000, 1) for name, seconds in trace.stages.copy().items()},
            "bytes_in": received,
            "bytes_out": sent,
        }
        if key:
            fields["key"] = key
        if trace.problem:
            fields["problem"] = trace.problem
        logger.info("request", extra={"fields": fields})
        if trace.span:
            trace.end_stages()
            attributes = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "auricle.request_id": trace.request_id,
            }
            failure = (trace.problem or str(status)) if 500 <= status < 600 else None
            trace.span.end(attributes, name=f"{method} {route}", failure=failure)


def _ids(trace: Trace) -> dict[str, str]:
    ids = {"request_id": trace.request_id}
    return ids | {"trace_id": trace.span.trace_id} if trace.span else ids


def _method(scope: Scope) -> str:
    method: str = scope.get("method", "WEBSOCKET")
    return method if method in _METHODS else "OTHER"
