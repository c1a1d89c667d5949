"""Dynamic batching of one model's requests, as Triton does it. Knows nothing about ONNX Runtime.

There is no timer by default: while one batch runs, the next one gathers. Requests batch together when their arrays have
the same shapes beyond axis 0; the oldest waiting request always leads the next batch.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from service.backends.base import Observer, failure
from service.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, Overloaded, ServiceError
from service.repository import ModelConfig
from service.tensors import Tensors, split, stack

logger = logging.getLogger(__name__)

# What config.pbtxt does not bound is bounded here: a queue that grows without end only turns overload into timeouts.
DEFAULT_MAX_QUEUE_SIZE = 1024

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(eq=False)  # a request is itself, not its values: it is a key of the queue
class Request:
    inputs: Tensors
    size: int  # rows
    shapes: Shapes
    arrived: float  # loop time
    answer: asyncio.Future[Tensors | ServiceError]


class Batcher:
    """A bounded queue and `config.instances` tasks that each run one batch at a time in `executor`.

    `run` gets stacked inputs and returns outputs of as many rows; it is called in a thread. When it raises for a batch
    of several requests, they are run again one by one, so that only the one at fault gets the error: a bad request
    costs its batch mates time and nothing else. A request whose caller has gone leaves the queue at once.
    """

    def __init__(
        self, config: ModelConfig, run: Callable[[Tensors], Tensors], executor: Executor, observer: Observer
    ) -> None:
        self._config = config
        self._run = run
        self._executor = executor
        self._observer = observer
        self._max_queue_size = config.batching.max_queue_size or DEFAULT_MAX_QUEUE_SIZE
        self._max_rows = config.max_batch_size if config.batching.enabled else 1
        self._waiting: dict[Request, None] = {}  # in order of arrival; removal from the middle is cheap
        self._changed = asyncio.Condition()
        self._closed = False
        self._tasks = [asyncio.create_task(self._serve()) for _ in range(config.instances)]

    async def submit(self, inputs: Tensors, size: int, deadline: float | None) -> Tensors:
        """`inputs` of `size` rows, already checked. Raises the errors of `Backend.infer`."""
        if self._closed:
            raise failure(BackendUnavailable, self._config.name)
        if len(self._waiting) >= self._max_queue_size:
            raise failure(Overloaded, self._config.name)
        loop = asyncio.get_running_loop()
        shapes = tuple((name, inputs[name].shape[1:]) for name in sorted(inputs))
        request = Request(inputs, size, shapes, loop.time(), loop.create_future())
        self._waiting[request] = None
        self._observe_queue()
        try:
            async with asyncio.timeout_at(deadline):
                await self._notify()
                answer = await request.answer
        except TimeoutError as exc:
            raise failure(DeadlineExceeded, self._config.name) from exc
        finally:
            request.answer.cancel()  # does nothing to an answer that was given
            if request in self._waiting:
                del self._waiting[request]
                self._observe_queue()
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    async def close(self) -> None:
        """Waits for the batches that run; what waits behind them gets BackendUnavailable."""
        self._closed = True
        for request in self._waiting:
            self._refuse(request, failure(BackendUnavailable, self._config.name))
        self._waiting.clear()
        await self._notify()
        await asyncio.gather(*self._tasks)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self) -> None:
        """Runs batches until close. Nothing that a request does ends this loop."""
        while batch := await self._next_batch():
            started = asyncio.get_running_loop().time()
            await self._answer(batch)
            self._observer.on_batch(
                self._config.name,
                sum(request.size for request in batch),
                started - min(request.arrived for request in batch),
                asyncio.get_running_loop().time() - started,
            )

    async def _next_batch(self) -> list[Request]:
        """Waits for work, then as long as the queue delay allows for more of it. Empty once closed."""
        clock = asyncio.get_running_loop().time
        async with self._changed:
            while True:
                await self._changed.wait_for(lambda: self._waiting or self._closed)
                self._drop_expired(clock())
                batch = self._gather()
                if not batch:
                    if self._closed:
                        return []
                    continue
                patience = batch[0].arrived + self._config.batching.max_queue_delay_s - clock()
                if patience <= 0 or self._is_full(batch) or self._closed:
                    break
                try:
                    async with asyncio.timeout(patience):
                        await self._changed.wait()
                except TimeoutError:
                    continue  # the delay has passed: whatever is there runs
        for request in batch:
            del self._waiting[request]
        self._observe_queue()
        return batch

    def _gather(self) -> list[Request]:
        """The oldest request and those of its shapes that fit beside it."""
        batch: list[Request] = []
        rows = 0
        limit = self._target()
        for request in self._waiting:
            if not batch or (request.shapes == batch[0].shapes and rows + request.size <= limit):
                batch.append(request)
                rows += request.size
            if rows >= limit:
                break
        return batch

    def _target(self) -> int:
        """The largest preferred size that what waits can fill, else the maximum."""
        if not self._config.batching.preferred_sizes or not self._waiting:
            return self._max_rows
        head = next(iter(self._waiting))
        rows = sum(request.size for request in self._waiting if request.shapes == head.shapes)
        return max((size for size in self._config.batching.preferred_sizes if size <= rows), default=self._max_rows)

    def _is_full(self, batch: Sequence[Request]) -> bool:
        rows = sum(request.size for request in batch)
        return rows >= self._max_rows or rows in self._config.batching.preferred_sizes

    def _drop_expired(self, now: float) -> None:
        if (limit := self._config.batching.queue_timeout_s) is None:
            return
        for request in [request for request in self._waiting if now - request.arrived > limit]:
            del self._waiting[request]
            self._refuse(request, failure(DeadlineExceeded, self._config.name))

    async def _answer(self, batch: Sequence[Request]) -> None:
        """Runs the batch and gives each request its rows, or its error."""
        sizes = [request.size for request in batch]
        loop = asyncio.get_running_loop()
        try:
            parts = await loop.run_in_executor(self._executor, self._run_batch, [r.inputs for r in batch], sizes)
        except Exception as exc:  # noqa: BLE001  this loop serves everyone, so it outlives every failure
            if len(batch) > 1:
                for request in batch:
                    if not request.answer.done():
                        await self._answer([request])
            else:
                self._refuse(batch[0], self._translate(exc))
            return
        for request, part in zip(batch, parts, strict=True):
            if not request.answer.done():
                request.answer.set_result(part)

    def _run_batch(self, parts: Sequence[Tensors], sizes: Sequence[int]) -> list[Tensors]:
        outputs = self._run(stack(parts))
        return split(outputs, sizes) if self._config.max_batch_size else [outputs]

    def _translate(self, exc: Exception) -> ServiceError:
        logger.error("model %s failed", self._config.name, exc_info=exc)
        error = failure(InferenceFailed, self._config.name)
        error.__cause__ = exc
        return error

    def _refuse(self, request: Request, error: ServiceError) -> None:
        if not request.answer.done():
            request.answer.set_result(error)

    def _observe_queue(self) -> None:
        self._observer.on_queue(self._config.name, len(self._waiting))
