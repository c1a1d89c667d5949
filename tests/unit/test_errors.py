"""The taxonomy: one class, one status, one slug."""

import pytest

from service.errors import ServiceError

OUTCOMES = ServiceError.__subclasses__()


def test_slugs_are_unique() -> None:
    assert len({outcome.slug for outcome in OUTCOMES}) == len(OUTCOMES) == 17


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_says_what_a_client_needs(outcome: type[ServiceError]) -> None:
    error = outcome("what happened", errors=[{"pointer": "#/x", "detail": "wrong"}])
    assert (error.detail, str(error)) == ("what happened", "what happened")
    assert 400 <= error.status < 600
    assert error.title
    assert (error.retry_after is not None) == (error.status in (429, 503))
