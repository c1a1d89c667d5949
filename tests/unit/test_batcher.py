"""Dynamic batching, with a model that waits at a gate: what is together, in which order, and who pays for a failure."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.backends.base import Unobserved
from service.backends.batcher import DEFAULT_MAX_QUEUE_SIZE, Batcher
from service.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, Overloaded
from service.repository import Batching, ModelConfig, TensorSpec
from service.tensors import Tensors

BATCHED = Batching(enabled=True)
FLOAT = np.dtype(np.float32)


class Model:
    """y = 2 x. Keeps the rows of every batch; waits at the gate first; raises at a negative row."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)  # one for each batch that has reached the gate
        self.batches: list[list[float]] = []

    def __call__(self, inputs: Tensors) -> Tensors:
        self.batches.append(inputs["x"][:, 0].tolist())
        self.entered.release()
        self.gate.wait()
        if (inputs["x"] < 0).any():
            raise ValueError("negative")
        return {"y": 2 * inputs["x"]}


Start = Callable[..., Batcher]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def start(model: Model) -> AsyncIterator[Start]:
    batchers: list[Batcher] = []
    executor = ThreadPoolExecutor(4)

    def start(batching: Batching = BATCHED, *, max_batch_size: int = 4, instances: int = 1) -> Batcher:
        specs = (TensorSpec("x", FLOAT, (-1,)),), (TensorSpec("y", FLOAT, (-1,)),)
        config = ModelConfig("double", "onnxruntime", max_batch_size, *specs, batching=batching, instances=instances)
        batchers.append(Batcher(config, model, executor, Unobserved()))
        return batchers[-1]

    yield start
    model.gate.set()
    for batcher in batchers:
        await batcher.close()
    executor.shutdown()


def send(batcher: Batcher, *rows: float, width: int = 1, deadline: float | None = None) -> "asyncio.Task[Tensors]":
    array = np.repeat(np.array(rows, np.float32)[:, None], width, axis=1)
    return asyncio.create_task(batcher.submit({"x": array}, len(rows), deadline))


async def occupy(batcher: Batcher, model: Model) -> "asyncio.Task[Tensors]":
    """A request that stands at the gate, so that what comes after it waits."""
    task = send(batcher, 0)
    await asyncio.to_thread(model.entered.acquire)
    return task


async def settle() -> None:
    """Lets every task run until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_waits_while_a_batch_runs_becomes_the_next_batch(start: Start, model: Model) -> None:
    batcher = start()
    tasks = [await occupy(batcher, model), *(send(batcher, value) for value in (1, 2, 3, 4, 5))]
    await settle()
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.batches == [[0], [1, 2, 3, 4], [5]]
    assert [answer["y"].tolist() for answer in answers] == [[[2.0 * value]] for value in range(6)]


async def test_a_request_alone_does_not_wait_for_company(start: Start, model: Model) -> None:
    model.gate.set()
    assert (await send(start(), 7))["y"].tolist() == [[14]]


async def test_results_are_split_by_the_rows_of_each_request(start: Start, model: Model) -> None:
    batcher = start(max_batch_size=8)
    tasks = [await occupy(batcher, model), send(batcher, 1, 2, 3), send(batcher, 4), send(batcher, 5, 6)]
    await settle()
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.batches == [[0], [1, 2, 3, 4, 5, 6]]
    assert [answer["y"][:, 0].tolist() for answer in answers] == [[0], [2, 4, 6], [8], [10, 12]]


async def test_a_request_that_does_not_fit_waits_for_the_next_batch(start: Start, model: Model) -> None:
    batcher = start()
    tasks = [await occupy(batcher, model), send(batcher, 1, 2, 3), send(batcher, 4, 5), send(batcher, 6)]
    await settle()
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.batches == [[0], [1, 2, 3, 6], [4, 5]]


async def test_shapes_batch_among_themselves_and_the_oldest_goes_first(start: Start, model: Model) -> None:
    batcher = start()
    tasks = [await occupy(batcher, model)]
    tasks += [send(batcher, value, width=1 + value % 2) for value in (1, 2, 3, 4)]
    await settle()
    model.gate.set()
    answers = await asyncio.gather(*tasks)
    assert model.batches == [[0], [1, 3], [2, 4]]
    assert [answer["y"].shape for answer in answers] == [(1, 1), (1, 2), (1, 1), (1, 2), (1, 1)]


async def test_without_dynamic_batching_requests_run_one_by_one(start: Start, model: Model) -> None:
    batcher = start(Batching(enabled=False))
    model.gate.set()
    await asyncio.gather(send(batcher, 1), send(batcher, 2, 3), send(batcher, 4))
    assert model.batches == [[1], [2, 3], [4]]


async def test_a_preferred_size_is_not_exceeded(start: Start, model: Model) -> None:
    batcher = start(replace(BATCHED, preferred_sizes=(2,)))
    tasks = [await occupy(batcher, model), *(send(batcher, value) for value in (1, 2, 3))]
    await settle()
    model.gate.set()
    await asyncio.gather(*tasks)
    assert model.batches == [[0], [1, 2], [3]]


async def test_the_queue_delay_waits_for_a_full_batch_and_no_longer(start: Start, model: Model) -> None:
    model.gate.set()
    patient = start(replace(BATCHED, max_queue_delay_s=60.0))
    async with asyncio.timeout(10):
        first = send(patient, 1)
        await settle()
        await asyncio.gather(first, *(send(patient, value) for value in (2, 3, 4)))
    assert model.batches == [[1, 2, 3, 4]]

    hasty = start(replace(BATCHED, max_queue_delay_s=0.01))
    async with asyncio.timeout(10):
        await send(hasty, 5)
    assert model.batches[1:] == [[5]]


async def test_instances_run_at_the_same_time(start: Start, model: Model) -> None:
    batcher = start(max_batch_size=1, instances=2)
    tasks = [await occupy(batcher, model), await occupy(batcher, model)]  # both stand at the gate
    model.gate.set()
    await asyncio.gather(*tasks)


async def test_a_failing_batch_is_run_again_one_by_one(start: Start, model: Model) -> None:
    batcher = start()
    tasks = [await occupy(batcher, model), *(send(batcher, value) for value in (1, -2, 3))]
    await settle()
    model.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert model.batches == [[0], [1, -2, 3], [1], [-2], [3]]
    failed = answers.pop(2)
    assert isinstance(failed, InferenceFailed)
    assert isinstance(failed.__cause__, ValueError)
    assert "negative" not in failed.detail
    assert [answer["y"].item() for answer in answers if isinstance(answer, dict)] == [0, 2, 6]
    assert (await send(batcher, 4))["y"].item() == 8  # and the loop goes on


async def test_a_model_that_returns_another_number_of_rows_fails(start: Start) -> None:
    config = ModelConfig("odd", "onnxruntime", 4, (), (), batching=BATCHED)
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(config, lambda inputs: {"y": np.zeros((3, 1))}, executor, Unobserved())
        with pytest.raises(InferenceFailed):
            await send(batcher, 1)
        await batcher.close()


async def test_a_full_queue_refuses_and_an_abandoned_place_is_free_at_once(start: Start, model: Model) -> None:
    batcher = start(replace(BATCHED, max_queue_size=2))
    running = await occupy(batcher, model)
    waiting = [send(batcher, 1), send(batcher, 2)]
    await settle()
    with pytest.raises(Overloaded):
        await send(batcher, 3)

    waiting[0].cancel()
    await settle()
    heir = send(batcher, 4)
    await settle()
    model.gate.set()
    await asyncio.gather(running, waiting[1], heir)
    assert model.batches == [[0], [2, 4]]


async def test_a_queue_without_a_limit_of_its_own_is_bounded_all_the_same(start: Start, model: Model) -> None:
    batcher = start()
    running = await occupy(batcher, model)
    waiting = [send(batcher, 1) for _ in range(DEFAULT_MAX_QUEUE_SIZE)]
    await settle()
    with pytest.raises(Overloaded):
        await send(batcher, 2)
    model.gate.set()
    await asyncio.gather(running, *waiting)


async def test_a_request_past_its_deadline_is_never_run(start: Start, model: Model) -> None:
    batcher = start()
    running = await occupy(batcher, model)
    with pytest.raises(DeadlineExceeded):
        await send(batcher, 1, deadline=asyncio.get_running_loop().time() + 0.01)
    model.gate.set()
    await running
    await send(batcher, 2)
    assert model.batches == [[0], [2]]


async def test_a_request_that_outstays_the_queue_timeout_is_refused(start: Start, model: Model) -> None:
    batcher = start(replace(BATCHED, queue_timeout_s=0.5))
    running = await occupy(batcher, model)
    late = send(batcher, 1)
    await asyncio.wait({late}, timeout=0.6)  # past the timeout, which counts when the model is free again
    model.gate.set()
    with pytest.raises(DeadlineExceeded):
        await late
    await running
    assert model.batches == [[0]]


async def test_close_finishes_what_runs_and_refuses_the_rest(start: Start, model: Model) -> None:
    batcher = start()
    running, waiting = await occupy(batcher, model), send(batcher, 1)
    await settle()
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(BackendUnavailable):
        await waiting
    assert not closing.done()
    model.gate.set()
    await closing
    assert (await running)["y"].item() == 0
    with pytest.raises(BackendUnavailable):
        await send(batcher, 2)
    assert model.batches == [[0]]


async def test_callers_that_leave_together_with_the_answer_leave_nothing_behind(start: Start, model: Model) -> None:
    batcher = start()
    gone: list[Coroutine[Any, Any, Any] | asyncio.Task[Tensors]] = [await occupy(batcher, model)]
    gone += [send(batcher, value) for value in (-1, 2)]
    await settle()
    for task in gone:
        assert isinstance(task, asyncio.Task)
        task.cancel()
    model.gate.set()
    await asyncio.gather(*gone, return_exceptions=True)
    assert (await send(batcher, 3))["y"].item() == 6
    assert model.batches == [[0], [3]]
