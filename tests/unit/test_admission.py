"""Admission: bounded by what the work is measured to cost, and fair between keys."""

from collections import Counter
from contextlib import ExitStack

import pytest

from service.errors import InvalidInput, Overloaded
from service.web.admission import Admission

CAPACITY_S = 10.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(clock: Clock) -> Admission:
    return Admission(CAPACITY_S, lambda work, capacity: None, clock)


def fill(admission: Admission, stack: ExitStack, key: str | None, nominal_s: float, tries: int = 1000) -> int:
    """How many of so many requests are let in."""
    for count in range(tries):
        try:
            stack.enter_context(admission.admit("route", nominal_s, key))
        except Overloaded:
            return count
    return tries


def test_no_more_is_let_in_than_the_bound_and_all_of_it_comes_free(admission: Admission) -> None:
    with ExitStack() as stack:
        assert fill(admission, stack, None, 1.0) == 10
        assert admission.work == pytest.approx(CAPACITY_S)
        with pytest.raises(Overloaded) as refusal:
            admission.check(None)
        assert refusal.value.retry_after == 5
    assert admission.work == 0
    admission.check(None)


def test_a_request_larger_than_the_bound_is_served_alone_and_leaves_room_for_small_ones(admission: Admission) -> None:
    with admission.admit("route", 1e6, None), admission.admit("route", 0.1, None):
        assert admission.work < CAPACITY_S


def test_one_key_leaves_room_for_another(admission: Admission) -> None:
    with ExitStack() as stack:
        assert fill(admission, stack, "greedy", 0.1) == pytest.approx(67, abs=1)
        assert fill(admission, stack, "late", 0.1) >= 20


def test_many_keys_share_alike(admission: Admission) -> None:
    with ExitStack() as stack:
        counts: Counter[str] = Counter()
        for _ in range(200):
            for key in ("a", "b", "c", "d"):
                counts[key] += fill(admission, stack, key, 0.1, tries=1)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert 80 <= sum(counts.values()) <= 100


@pytest.mark.parametrize("side_by_side", [1, 4, 16])
def test_what_requests_cost_is_learned_however_many_run_at_once(
    admission: Admission, clock: Clock, side_by_side: int
) -> None:
    """The machine does 20 a second, each said to cost a tenth of one: the queue is ten seconds, so two hundred."""
    for _ in range(400 // side_by_side):
        with ExitStack() as stack:
            for _ in range(side_by_side):
                stack.enter_context(admission.admit("route", 0.1, None))
            clock.now += side_by_side / 20
    with ExitStack() as stack:
        assert fill(admission, stack, None, 0.1) == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize(("nominal_s", "seconds"), [(100.0, 0.05), (0.002, 50.0)], ids=["boasts", "hides"])
def test_a_request_that_lies_about_its_size_changes_little(
    admission: Admission, clock: Clock, nominal_s: float, seconds: float
) -> None:
    def works(nominal_s: float, seconds: float) -> None:
        with admission.admit("route", nominal_s, None):
            clock.now += seconds

    for _ in range(200):
        works(0.1, 0.1)
    works(nominal_s, seconds)
    with admission.admit("route", 0.1, None):
        assert 0.07 < admission.work < 0.14
    for _ in range(100):
        works(0.1, 0.1)
    with admission.admit("route", 0.1, None):
        assert admission.work == pytest.approx(0.1, rel=0.05)


def test_large_requests_say_more_of_the_cost_than_small_ones(admission: Admission, clock: Clock) -> None:
    """A hundredth of a second for each, and a second a second."""
    for _ in range(300):
        for nominal_s in (0.002, 0.002, 0.5):
            with admission.admit("route", nominal_s, None):
                clock.now += nominal_s + 0.01
    with admission.admit("route", 0.5, None):
        assert admission.work == pytest.approx(0.51, rel=0.15)


def test_kinds_are_told_apart(admission: Admission, clock: Clock) -> None:
    for _ in range(200):
        for kind, seconds in (("fast", 0.01), ("slow", 0.5)):
            with admission.admit(kind, 0.1, None):
                clock.now += seconds
    with admission.admit("fast", 0.1, None):
        assert admission.work == pytest.approx(0.01, rel=0.01)
    with admission.admit("slow", 0.1, None):
        assert admission.work == pytest.approx(0.5, rel=0.01)


def test_what_was_refused_teaches_nothing(admission: Admission) -> None:
    for _ in range(100):
        with pytest.raises(InvalidInput), admission.admit("route", 1.0, None):
            raise InvalidInput("no audio")
    with admission.admit("route", 1.0, None):
        assert admission.work == pytest.approx(1.0)
