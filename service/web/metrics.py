"""The Prometheus metrics of one application, in a registry of their own."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.web.trace import Trace

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Observes requests for the web floor, and inference for the backend that is named `backend`."""

    def __init__(self, backend: str) -> None:
        self.registry = CollectorRegistry()
        self._backend = backend
        self._make_web()
        self._make_inference()
        self._make_servers()
        ProcessCollector(registry=self.registry)

    def on_request(self, route: str, method: str, status: int, trace: Trace, key: str = "") -> None:
        """Counts one finished request; `key` is the name of the API key that it came with."""
        self._requests.labels(route, method, status, key).inc()
        self._duration.labels(route).observe(trace.elapsed())
        for stage, seconds in trace.stages.copy().items():
            self._stage.labels(route, stage).observe(max(seconds, 0))
        if trace.problem:
            self._problems.labels(route, trace.problem).inc()

    def on_admission(self, work_s: float, capacity_s: float) -> None:
        """Sets how many seconds of work are queued or run, by estimate, and how many may be."""
        self._admitted.set(work_s)
        self._capacity.set(capacity_s)

    def on_batch(self, model: str, batch_size: int, queue_s: float, infer_s: float) -> None:
        """Counts one execution of a model."""
        self._batch_size.labels(model, self._backend).observe(batch_size)
        self._queue.labels(model).observe(queue_s)
        self._infer.labels(model, self._backend).observe(infer_s)

    def on_queue(self, model: str, depth: int) -> None:
        """Sets how many requests wait for a model."""
        self._queue_depth.labels(model).set(depth)

    def on_refused(self, model: str, reason: str) -> None:
        """Counts a request that a model did not answer."""
        self._refused.labels(model, reason).inc()

    def on_reload(self, model: str, version: int, outcome: str) -> None:
        """Counts an attempt to load a version, which serves from now on if it was "loaded"."""
        for known in ("loaded", "failed"):
            self._reloads.labels(model, known)
        if outcome == "loaded":
            self._version.labels(model).set(version)
        self._reloads.labels(model, outcome).inc()

    def on_server(self, address: str, *, up: bool, outstanding: int) -> None:
        """Sets whether a Triton server gets requests, and how many it has."""
        for counter in (self._retries, self._ejections):
            counter.labels(address)  # from 0 on: else what happens first is no increase to those who watch
        self._server_up.labels(address).set(up)
        self._outstanding.labels(address).set(outstanding)

    def on_retry(self, address: str) -> None:
        """Counts a request that a Triton server did not take or answer, and that is sent once more."""
        self._retries.labels(address).inc()

    def on_ejected(self, address: str) -> None:
        """Counts that a Triton server gets no more requests until it is live again."""
        self._ejections.labels(address).inc()

    def on_shared_memory(self, address: str, size: int) -> None:
        """Sets how many bytes of shared memory a Triton server has registered for us."""
        self._shared_memory.labels(address).set(size)

    def _make_web(self) -> None:
        self.in_flight = self._gauge("auricle_requests_in_flight", "Requests being answered.")
        self._requests = self._counter("auricle_requests", "Requests answered.", ["route", "method", "status", "key"])
        self._duration = self._histogram(
            "auricle_request_duration_seconds", "Time from the request line to the last byte of the answer.", ["route"]
        )
        self._stage = self._histogram(
            "auricle_stage_duration_seconds", "Time that a request spent in one of its stages.", ["route", "stage"]
        )
        self._problems = self._counter(
            "auricle_problems", "Requests answered with a problem, by its slug.", ["route", "reason"]
        )
        self._admitted = self._gauge("auricle_admitted_work", "Estimated seconds of work, queued or running.")
        self._capacity = self._gauge("auricle_admission_capacity", "Estimated seconds of work that are let in.")

    def _make_inference(self) -> None:
        self._batch_size = self._histogram(
            "auricle_batch_size", "Rows in one execution.", ["model", "backend"], _BATCH_SIZES
        )
        self._queue = self._histogram(
            "auricle_queue_duration_seconds", "Longest wait of a batch's requests before it ran.", ["model"]
        )
        self._infer = self._histogram("auricle_inference_duration_seconds", "One execution.", ["model", "backend"])
        self._queue_depth = self._gauge("auricle_queue_depth", "Requests that wait.", ["model"])
        self._refused = self._counter(
            "auricle_refusals", "Requests that a model did not answer, by the slug of the problem.", ["model", "reason"]
        )
        self._version = self._gauge("auricle_model_version", "The version that serves.", ["model"])
        self._reloads = self._counter(
            "auricle_model_reloads", "Attempts to load another version.", ["model", "outcome"]
        )

    def _make_servers(self) -> None:
        self._server_up = self._gauge("auricle_triton_server_up", "1 while the server gets requests.", ["server"])
        self._outstanding = self._gauge("auricle_triton_outstanding", "Requests that the server has.", ["server"])
        self._retries = self._counter(
            "auricle_triton_retries", "Requests that the server failed and that were sent once more.", ["server"]
        )
        self._ejections = self._counter("auricle_triton_ejections", "Times that the server was given up.", ["server"])
        self._shared_memory = self._gauge(
            "auricle_shared_memory_bytes", "Shared memory registered with the server.", ["server"]
        )

    def _counter(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, labels: Sequence[str], buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
