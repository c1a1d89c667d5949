"""OpenTelemetry: a span for each request, its stages and its calls of Triton, sent to a collector as OTLP over HTTP.

The SDK reads its own environment beside our setting: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
OTEL_EXPORTER_OTLP_HEADERS and the rest.
"""

import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.spans import Attributes, Span

_TRACE_CONTEXT = TraceContextTextMapPropagator()
_PATIENCE_S = 3.0  # with the collector, retries included: so long a collector that is down holds up our end


class OpenTelemetry:
    """Makes the span of each request, and sends the finished ones in batches from a thread of its own."""

    def __init__(self, endpoint: str, version: str) -> None:
        """`endpoint` is a collector's http(s)://host:port. One that is down costs spans and nothing else."""
        ours = Resource.create({"service.name": "auricle", "service.version": version})
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_PATIENCE_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("auricle", version)

    def request(self, name: str, headers: Mapping[str, str], attributes: Attributes) -> Span:
        """The server's span: within that of the client, where `headers` have a `traceparent`."""
        parent = _TRACE_CONTEXT.extract(headers)
        return Recorded(self._tracer, self._tracer.start_span(name, parent, trace.SpanKind.SERVER, attributes))

    def close(self) -> None:
        """Sends what is left, for some seconds at most. Blocks."""
        self._provider.shutdown()


class Recorded:
    """Implements `Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer, self._span = tracer, span
        self._paused: int | None = None  # nanoseconds

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def child(self, name: str) -> Span:
        return self._part(name, trace.SpanKind.INTERNAL, {})

    def call(self, name: str, attributes: Attributes) -> Span:
        return self._part(name, trace.SpanKind.CLIENT, attributes)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier, trace.set_span_in_context(self._span))
        return carrier

    def pause(self) -> None:
        self._paused = time.time_ns()

    def end(self, attributes: Attributes, *, name: str | None = None, failure: str | None = None) -> None:
        self._span.set_attributes(attributes)
        if name is not None:
            self._span.update_name(name)
        if failure is not None:
            self._span.set_attribute("error.type", failure)
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end(self._paused)

    def _part(self, name: str, kind: trace.SpanKind, attributes: Attributes) -> Span:
        within = trace.set_span_in_context(self._span)
        return Recorded(self._tracer, self._tracer.start_span(name, within, kind, attributes))
