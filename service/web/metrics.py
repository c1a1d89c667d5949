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
        self._admitted = Gauge(
            "auricle_admitted_work", "Estimated seconds of work, queued or running.", registry=self.registry
        )
        self._capacity = Gauge(
            "auricle_admission_capacity", "Estimated seconds of work that are let in.", registry=self.registry
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

    def on_admission(self, work_s: float, capacity_s: float) -> None:
        """Sets the estimated seconds of work that are let in, and the bound on them."""
        self._admitted.set(work_s)
        self._capacity.set(capacity_s)

    def on_refused(self, model: str, reason: str) -> None:
        """Counts a request that a model's queue turned away."""
        self._refused.labels(model, reason).inc()
