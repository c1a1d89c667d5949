"""Our own parsers refuse what they cannot read, and raise nothing else. By hand, guided: `tests.hostile.fuzz`."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.mutate import damaged
from tests.hostile.parsers import PARSERS, refusing, seeds


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_bytes_are_refused_or_read(name: str) -> None:
    good = seeds(name)
    for number in range(200):
        rng = random.Random(f"{name} {number}")
        refusing(PARSERS[name], damaged(rng.choice(good), good, rng))


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.binary(max_size=500))
def test_any_bytes_are_refused_or_read(name: str, data: bytes) -> None:
    refusing(PARSERS[name], data)
    for good in seeds(name)[:2]:
        refusing(PARSERS[name], good[: len(data)] + data)
