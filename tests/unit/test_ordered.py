"""Many inputs through one function, in order and bounded."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from service.backends.ordered import in_order


class Source:
    """Numbers, and how many of them were asked for."""

    def __init__(self, count: int) -> None:
        self.count, self.asked, self.closed = count, 0, False

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.count):
                self.asked += 1
                yield number
        finally:
            self.closed = True


class Gates:
    """A function whose calls end when they are told to."""

    def __init__(self) -> None:
        self.running: dict[int, asyncio.Event] = {}
        self.started = asyncio.Condition()

    async def __call__(self, number: int) -> int:
        self.running[number] = asyncio.Event()
        async with self.started:
            self.started.notify_all()
        try:
            await self.running[number].wait()
        finally:
            del self.running[number]
        return number * 10

    async def until(self, count: int) -> None:
        async with self.started:
            await self.started.wait_for(lambda: len(self.running) == count)


async def test_results_come_in_order_whatever_the_order_of_the_calls() -> None:
    gates = Gates()
    async with aclosing(in_order(Source(3).items(), gates, 3)) as results:
        first = asyncio.ensure_future(anext(results))
        await gates.until(3)
        for number in (2, 1, 0):
            gates.running[number].set()
        assert [await first, *[result async for result in results]] == [0, 10, 20]


async def test_a_result_is_there_before_the_next_item_is() -> None:
    more = asyncio.Event()

    async def items() -> AsyncGenerator[int, None]:
        yield 1
        await more.wait()
        yield 2

    async def call(number: int) -> int:
        return number

    async with aclosing(in_order(items(), call, 4)) as results:
        assert await anext(results) == 1
        more.set()
        assert [result async for result in results] == [2]


async def test_no_more_is_asked_for_than_may_be_under_way() -> None:
    source, gates = Source(10), Gates()
    async with aclosing(in_order(source.items(), gates, 2)) as results:
        first = asyncio.ensure_future(anext(results))
        await gates.until(2)
        assert source.asked == 2
        gates.running[0].set()
        await first
        assert source.asked == 2  # the result was not taken: the consumer has not come back for the next
        following = asyncio.ensure_future(anext(results))
        await gates.until(2)
        assert source.asked == 3
        following.cancel()
        await asyncio.wait({following})


async def test_leaving_cancels_what_runs_and_closes_the_source() -> None:
    source, gates = Source(10), Gates()
    async with aclosing(in_order(source.items(), gates, 4)) as results:
        first = asyncio.ensure_future(anext(results))
        await gates.until(4)
        first.cancel()
        await asyncio.wait({first})
    assert source.closed
    assert not gates.running


async def test_an_error_of_a_call_comes_in_its_turn_and_ends_it() -> None:
    source = Source(5)

    async def call(number: int) -> int:
        if number == 1:
            raise ValueError("one")
        return number

    async with aclosing(in_order(source.items(), call, 3)) as results:
        assert await anext(results) == 0
        with pytest.raises(ValueError, match="one"):
            await anext(results)
    assert source.closed


async def test_an_error_of_the_source_comes_after_what_was_there_before() -> None:
    async def items() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError("damaged")

    async def call(number: int) -> int:
        return number

    async with aclosing(in_order(items(), call, 3)) as results:
        assert await anext(results) == 1
        with pytest.raises(ValueError, match="damaged"):
            await anext(results)
