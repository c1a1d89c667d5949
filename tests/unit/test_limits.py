"""Rates and places of API keys."""

import pytest

from service.errors import RateLimited
from service.web.limits import Limits


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def allowed(limits: Limits, name: str, per_minute: float, tries: int) -> int:
    count = 0
    for _ in range(tries):
        try:
            with limits.enter(name, per_minute, None):
                count += 1
        except RateLimited:
            pass
    return count


def test_ten_seconds_worth_comes_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    limits = Limits(clock)
    assert allowed(limits, "a", 60, 100) == 10
    assert allowed(limits, "b", 60, 100) == 10  # keys do not count for each other
    clock.now += 3
    assert allowed(limits, "a", 60, 100) == 3
    clock.now += 3600
    assert allowed(limits, "a", 60, 100) == 10  # what was not used is not saved up


def test_over_a_minute_no_more_than_the_rate_and_the_burst() -> None:
    clock = Clock()
    limits = Limits(clock)
    count = 0
    for _ in range(600):
        count += allowed(limits, "a", 120, 5)
        clock.now += 0.1
    assert 120 <= count <= 120 + 20


@pytest.mark.parametrize(("per_minute", "seconds"), [(60, 1), (6, 10), (1, 60)])
def test_the_refusal_says_when_to_come_again(per_minute: float, seconds: int) -> None:
    clock = Clock()
    limits = Limits(clock)
    allowed(limits, "a", per_minute, 20)
    with pytest.raises(RateLimited) as refusal, limits.enter("a", per_minute, None):
        pass
    assert refusal.value.retry_after == seconds
    clock.now += seconds
    with limits.enter("a", per_minute, None):
        pass


def test_places_are_given_back_however_a_request_ends() -> None:
    limits = Limits()
    with limits.enter("a", None, 1):
        with pytest.raises(RateLimited), limits.enter("a", None, 1):
            pass
        with limits.enter("b", None, 1):
            pass
    with pytest.raises(ZeroDivisionError), limits.enter("a", None, 1):
        raise ZeroDivisionError
    with limits.enter("a", None, 1):
        pass
