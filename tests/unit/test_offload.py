"""The pool of threads: bounded, forgetful of callers that went away, one step at a time."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import pytest
import torch

from service.errors import Overloaded
from service.offload import Offload

request_id: ContextVar[str] = ContextVar("request_id")


@pytest.fixture
async def offload() -> AsyncIterator[Offload]:
    """One worker, and room for one more job."""
    pool = Offload(workers=1, max_queued=1)
    yield pool
    pool.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a job waits for; opened at the end, so that no test leaves a thread behind."""
    event = threading.Event()
    yield event
    event.set()


async def test_work_runs_in_another_thread_with_the_callers_context(offload: Offload) -> None:
    request_id.set("r1")
    thread, seen = await offload.run(lambda: (threading.get_ident(), request_id.get()))
    assert thread != threading.get_ident()
    assert seen == "r1"
    assert await offload.run(divmod, 7, 2) == (3, 1)


async def test_torch_uses_one_thread_in_a_worker(offload: Offload) -> None:
    assert await offload.run(torch.get_num_threads) == 1


async def test_an_error_of_the_job_is_the_callers(offload: Offload) -> None:
    with pytest.raises(ZeroDivisionError):
        await offload.run(divmod, 1, 0)
    assert await offload.run(divmod, 1, 1) == (1, 0)


async def test_one_job_too_many_is_refused_at_once(offload: Offload, gate: threading.Event) -> None:
    jobs = [asyncio.ensure_future(offload.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await offload.run(int)
    gate.set()
    assert await asyncio.gather(*jobs) == [True, True]
    assert await offload.run(int) == 0


async def test_abandoned_work_is_dropped_before_it_starts(offload: Offload, gate: threading.Event) -> None:
    ran = threading.Event()
    running = asyncio.ensure_future(offload.run(gate.wait))
    abandoned = asyncio.ensure_future(offload.run(ran.set))
    await asyncio.sleep(0)
    abandoned.cancel()
    with pytest.raises(asyncio.CancelledError):
        await abandoned

    heir = asyncio.ensure_future(offload.run(int))  # its place is free again
    await asyncio.sleep(0)
    gate.set()
    assert await running
    assert await heir == 0
    assert not ran.is_set()


async def test_a_started_job_keeps_its_place_until_it_ends(offload: Offload, gate: threading.Event) -> None:
    started = threading.Event()

    def job() -> None:
        started.set()
        gate.wait()

    running = asyncio.ensure_future(offload.run(job))
    await asyncio.to_thread(started.wait)
    running.cancel()
    await asyncio.wait({running})
    waiting = asyncio.ensure_future(offload.run(int))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await offload.run(int)
    gate.set()
    assert await waiting == 0


async def test_an_iterator_is_stepped_only_when_the_next_item_is_wanted(offload: Offload) -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            yield number

    async for number in offload.iterate(numbers()):
        assert made == list(range(number + 1))
    assert made == [0, 1, 2, 3]
    assert await asyncio.gather(offload.run(int), offload.run(int)) == [0, 0]  # its place is free again


async def test_an_iteration_holds_one_place_from_the_first_item_to_the_last(offload: Offload) -> None:
    stream = offload.iterate(iter(range(2)))
    assert await anext(stream) == 0
    other = offload.iterate(iter(range(2)))
    assert await anext(other) == 0
    with pytest.raises(Overloaded):
        await anext(offload.iterate(iter(range(2))))
    assert [number async for number in stream] == [1]
    assert [number async for number in other] == [1]


async def test_an_error_inside_an_iterator_ends_the_iteration(offload: Offload) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    stream = offload.iterate(broken())
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match="damaged"):
        await anext(stream)
    assert await asyncio.gather(offload.run(int), offload.run(int)) == [0, 0]


async def test_cancellation_in_the_middle_of_a_step_closes_the_iterator_after_it(
    offload: Offload, gate: threading.Event
) -> None:
    started, closed = threading.Event(), threading.Event()

    def blocked() -> Iterator[int]:
        try:
            started.set()
            gate.wait()
            yield 1
        finally:
            closed.set()

    async def consume() -> None:
        async for _ in offload.iterate(blocked()):
            pytest.fail("nothing comes out of it")

    task = asyncio.ensure_future(consume())
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not closed.is_set()
    gate.set()
    assert await asyncio.to_thread(closed.wait, 10)


async def test_what_is_admitted_is_never_refused_and_holds_one_place_to_its_last_job(gate: threading.Event) -> None:
    offload = Offload(workers=1, max_queued=0)
    with offload.admit() as admitted:
        with pytest.raises(Overloaded):
            await offload.run(int)
        with pytest.raises(Overloaded), offload.admit():
            pass
        items = [item async for item in admitted.iterate(iter("ab"))]
        assert items == ["a", "b"]
        assert await admitted.run(int, "7") == 7
        left = asyncio.create_task(admitted.run(gate.wait))
        await asyncio.sleep(0)  # lets it be submitted
    with pytest.raises(Overloaded):  # its last job runs still
        await offload.run(int)
    gate.set()
    await left
    assert await offload.run(int) == 0
    offload.close()
