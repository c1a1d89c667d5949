"""What every backend does, on ONNX Runtime in this process and on the real tritonserver: same answers, same errors."""

import asyncio
from typing import Any

import numpy as np
import pytest

from service.backends.base import Backend
from service.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    InferenceFailed,
    InvalidInput,
    ModelNotFound,
    Overloaded,
)
from service.tensors import Tensors
from tests.backends import models
from tests.backends.conftest import Subject

LONG = models.steps_for(seconds=1.0)  # of the slow model: long enough for what happens meanwhile


def steps(count: int) -> Tensors:
    return {"steps": np.array([[count]], np.int64)}


def ones(*shape: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    return np.ones(shape, dtype)


async def test_knows_what_the_repository_says(backend: Backend) -> None:
    config = backend.models["pair"]
    assert [(spec.name, spec.dtype, spec.dims) for spec in config.inputs] == [
        ("mel", np.float32, (-1, 3)),
        ("frames", np.int32, (1,)),
    ]
    assert [spec.name for spec in config.outputs] == ["sums", "doubled"]
    assert (config.max_batch_size, config.versions) == (8, (1,))
    assert dict(backend.models["add"].parameters) == {"colour": "blue"}
    assert await backend.ready("add")
    assert not await backend.ready("absent")


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 7), (8, 2), (3, 300)])
async def test_shapes_and_dtypes_survive(backend: Backend, rows: int, length: int) -> None:
    mel = np.random.default_rng(0).normal(size=(rows, length, 3)).astype(np.float32)
    frames = np.arange(rows, dtype=np.int32)[:, None]

    results = await backend.infer("pair", {"mel": mel, "frames": frames})

    assert (results["sums"].dtype, results["sums"].shape) == (np.float32, (rows, length))
    assert (results["doubled"].dtype, results["doubled"].shape) == (np.int64, (rows, 1))
    np.testing.assert_allclose(results["sums"], mel.sum(2), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(results["doubled"], 2 * frames)


async def test_an_array_of_any_memory_layout_is_read_right(backend: Backend) -> None:
    mel = np.arange(24, dtype=np.float32).reshape(3, 4, 2).T  # [2, 4, 3], not contiguous
    results = await backend.infer("pair", {"mel": mel, "frames": ones(2, 1, dtype=np.int32)})
    np.testing.assert_array_equal(results["sums"], mel.sum(2))


async def test_only_the_outputs_asked_for_are_returned(backend: Backend) -> None:
    inputs = {"mel": ones(1, 2, 3), "frames": ones(1, 1, dtype=np.int32)}
    assert list(await backend.infer("pair", inputs, ["doubled"])) == ["doubled"]
    assert set(await backend.infer("pair", inputs)) == {"sums", "doubled"}


async def test_a_model_without_a_batch_axis_gets_its_arrays_as_they_are(backend: Backend) -> None:
    results = await backend.infer("whole", {"x": ones(5)})
    np.testing.assert_array_equal(results["y"], 2 * ones(5))


async def test_concurrent_requests_share_batches_and_get_their_own_rows(backend: Backend) -> None:
    sizes = [1, 2, 3, 1, 1]
    answers = await asyncio.gather(*(backend.infer("crowd", {"x": ones(size, 4)}) for size in sizes))
    assert [answer["rows"].tolist() for answer in answers] == [[[8]] * size for size in sizes]

    values = np.arange(40, dtype=np.float32)
    sums = await asyncio.gather(*(backend.infer("add", {"x": np.full((1, 4), value)}) for value in values))
    np.testing.assert_array_equal([answer["y"][0, 0] for answer in sums], values + 1)


async def test_requests_of_other_shapes_are_not_mixed(backend: Backend) -> None:
    lengths = [3, 5, 3, 5, 3]
    answers = await asyncio.gather(*(backend.infer("crowd", {"x": ones(1, length)}) for length in lengths))
    rows = [answer["rows"].item() for answer in answers]
    assert all(count <= lengths.count(length) for count, length in zip(rows, lengths, strict=True))


async def test_an_unknown_model_is_not_found(subject: Subject) -> None:
    with pytest.raises(ModelNotFound, match="there is no model 'absent'"):
        await subject.backend.infer("absent", {"x": ones(1, 4)})
    assert subject.record.refused == [("absent", "model-not-found")]


@pytest.mark.parametrize(
    ("model", "inputs", "outputs", "detail"),
    [
        ("add", {}, None, "model 'add' needs input 'x'"),
        ("add", {"x": ones(1, 4), "z": ones(1, 4)}, None, "model 'add' has no input 'z'; it has x"),
        ("add", {"x": ones(1, 4)}, ["z"], "model 'add' has no output 'z'; it has y"),
        ("add", {"x": ones(1, 4, dtype=np.float64)}, None, "input 'x' of model 'add' is float32, not float64"),
        ("add", {"x": ones(1, 5)}, None, "input 'x' of model 'add' has shape [-1, 4], not [1, 5]"),
        ("add", {"x": ones(4)}, None, "input 'x' of model 'add' has shape [-1, 4], not [4]"),
        ("add", {"x": ones(9, 4)}, None, "model 'add' takes a batch of 1 to 8, not 9"),
        ("add", {"x": ones(0, 4)}, None, "model 'add' takes a batch of 1 to 8, not 0"),
        (
            "pair",
            {"mel": ones(2, 2, 3), "frames": ones(1, 1, dtype=np.int32)},
            None,
            "inputs of model 'pair' have different batch sizes: {'mel': 2, 'frames': 1}",
        ),
    ],
)
async def test_input_that_a_model_does_not_accept_is_refused_by_name(
    backend: Backend, model: str, inputs: Tensors, outputs: list[str] | None, detail: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await backend.infer(model, inputs, outputs)
    assert caught.value.detail == detail


async def test_a_failing_request_does_not_hurt_its_batch_mates(backend: Backend) -> None:
    indices = [0, 1, 99, 3]
    answers = await asyncio.gather(
        *(backend.infer("picky", {"index": np.array([[index]])}) for index in indices), return_exceptions=True
    )
    failed = answers.pop(2)
    assert isinstance(failed, InferenceFailed)
    assert failed.detail == "model 'picky' could not process this input"
    assert [round(answer["y"].item(), 3) for answer in answers if isinstance(answer, dict)] == [0.0, 0.1, 0.3]

    assert (await backend.infer("picky", {"index": np.array([[2]])}))["y"].item() == pytest.approx(0.2)


async def test_a_full_queue_refuses_at_once_and_serves_what_it_took(subject: Subject) -> None:
    answers = await asyncio.gather(
        *(subject.backend.infer("slow", steps(LONG // 4)) for _ in range(10)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    served = [answer for answer in answers if isinstance(answer, dict)]
    # one runs and four wait; the one that runs may have left the queue before or after the others came
    assert len(served) in (4, 5)
    assert len(refused) == 10 - len(served)
    assert {error.detail for error in refused} == {"the queue of model 'slow' is full"}
    assert subject.record.refused == [("slow", "overloaded")] * len(refused)


async def test_a_request_that_waits_too_long_in_the_queue_is_refused(backend: Backend) -> None:
    answers = await asyncio.gather(
        *(backend.infer("hasty", steps(LONG // 10)) for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [dict, DeadlineExceeded, DeadlineExceeded]


async def test_a_deadline_ends_the_wait_and_nothing_else(backend: Backend) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(backend.infer("slow", steps(LONG)))
    await asyncio.wait({running}, timeout=0.1)
    with pytest.raises(DeadlineExceeded, match="model 'slow' did not answer in time"):
        await backend.infer("slow", steps(1), deadline=loop.time() + 0.1)
    assert not running.done()
    assert (await running)["done"].item() == LONG


async def test_a_deadline_in_the_past_is_not_even_tried(subject: Subject) -> None:
    with pytest.raises(DeadlineExceeded):
        await subject.backend.infer("add", {"x": ones(1, 4)}, deadline=asyncio.get_running_loop().time() - 1)
    assert subject.record.batches == []
    assert subject.record.refused == [("add", "deadline-exceeded")]


async def test_abandoned_requests_cost_nothing(backend: Backend) -> None:
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(backend.infer("slow", steps(LONG)))
    waiting = {asyncio.create_task(backend.infer("slow", steps(20 * LONG))) for _ in range(3)}
    await asyncio.wait(waiting, timeout=0.2)
    for task in waiting:
        task.cancel()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)

    await running
    # any one of them would take ten seconds
    assert (await backend.infer("slow", steps(1), deadline=loop.time() + 5))["done"].item() == 1


async def test_after_close_nothing_is_served(backend: Backend) -> None:
    waiting = [asyncio.create_task(backend.infer("slow", steps(LONG // 4))) for _ in range(3)]
    await asyncio.wait(waiting, timeout=0.1)
    await backend.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes[1:]} == {BackendUnavailable}
    with pytest.raises(BackendUnavailable):
        await backend.infer("add", {"x": ones(1, 4)})
    assert not await backend.ready("add")


async def test_load_is_observed(subject: Subject) -> None:
    await asyncio.gather(*(subject.backend.infer("add", {"x": ones(2, 4)}) for _ in range(3)))
    assert sum(size for _, size in subject.record.batches) == 6
    assert max(subject.record.depths) >= 1
    assert subject.record.depths[-1] == 0
