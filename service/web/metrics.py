"""The Prometheus metrics of one application, in a registry of their own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.web.trace import Trace

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Observes requests for the web floor, and batches for the backends."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.in_flight = Gauge("auricle_requests_in_flight", "Requests being answered.", registry=self.registry)
        self._requests = Counter(
            "auricle_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self._duration = Histogram(
            "auricle_request_duration_seconds",
            "Time from the request line to the last byte of the answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stage = Histogram(
            "auricle_stage_duration_seconds",
            "Time that a request spent in one of its stages.",
            ["route", "stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._problems = Counter(
            "auricle_problems",
            "Requests answered with a problem, by its slug.",
            ["route", "reason"],
            registry=self.registry,
        )
        self._batch_size = Histogram(
            "auricle_batch_size", "Rows in one execution.", ["model"], buckets=_BATCH_SIZES, registry=self.registry
        )
        self._queue = Histogram(
            "auricle_queue_duration_seconds",
            "Longest wait of a batch's requests before it ran.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._infer = Histogram(
            "auricle_inference_duration_seconds", "One execution.", ["model"], buckets=_SECONDS, registry=self.registry
        )
        self._queue_depth = Gauge("auricle_queue_depth", "Requests that wait.", ["model"], registry=self.registry)
        self._refused = Counter(
            "auricle_refusals", "Requests that a model's queue refused.", ["model", "reason"], registry=self.registry
        )

        self._version = Gauge("auricle_model_version", "Version that is served.", ["model"], registry=self.registry)
        self._reloads = Counter(
            "auricle_model_reloads",
            "Versions of models that were to be used while the service ran, its first ones included.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self._server_up = Gauge(
            "auricle_triton_server_up", "1: requests go to this server.", ["server"], registry=self.registry
        )
        self._outstanding = Gauge(
            "auricle_triton_outstanding", "Requests that are with this server.", ["server"], registry=self.registry
        )
        self._ejections = Counter(
            "auricle_triton_ejections", "Times that this server did not answer.", ["server"], registry=self.registry
        )
        self._retries = Counter(
            "auricle_triton_retries", "Requests sent again after this server.", ["server"], registry=self.registry
        )
        self._shared_memory = Gauge(
            "auricle_shared_memory_bytes", "Memory shared with this server.", ["server"], registry=self.registry
        )

    def on_request(self, route: str, method: str, status: int, trace: Trace) -> None:
        """Counts one finished request."""
        self._requests.labels(route, method, status).inc()
        self._duration.labels(route).observe(trace.elapsed())
        for stage, seconds in trace.stages.copy().items():
            self._stage.labels(route, stage).observe(max(seconds, 0))
        if trace.problem:
            self._problems.labels(route, trace.problem).inc()

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        """Counts one execution of a model."""
        self._batch_size.labels(model).observe(batch_size)
        self._queue.labels(model).observe(queue_s)
        self._infer.labels(model).observe(infer_s)

    def on_queue(self, model: str, depth: int) -> None:
        """Sets how many requests wait for a model."""
        self._queue_depth.labels(model).set(depth)

    def on_refused(self, model: str, reason: str) -> None:
        """Counts a request that a model's queue turned away."""
        self._refused.labels(model, reason).inc()

    def on_reload(self, model: str, version: int, outcome: str) -> None:
        """Sets the version of a model, unless it could not be loaded."""
        self._reloads.labels(model, outcome).inc()
        if outcome == "loaded":
            self._version.labels(model).set(version)

    def on_server(self, address: str, *, up: bool, outstanding: int) -> None:
        """Sets what is known about a Triton server."""
        self._server_up.labels(address).set(up)
        self._outstanding.labels(address).set(outstanding)

    def on_ejected(self, address: str) -> None:
        """Counts a Triton server that stopped answering."""
        self._ejections.labels(address).inc()

    def on_retry(self, address: str) -> None:
        """Counts a request that is sent again."""
        self._retries.labels(address).inc()

    def on_shared_memory(self, address: str, size: int) -> None:
        """Sets the bytes shared with a Triton server."""
        self._shared_memory.labels(address).set(size)
