"""A part of the corpus against the whole application; all of it: `python -m tests.hostile`."""

from collections import Counter

import pytest

from service.app import create_app
from service.settings import Settings
from tests import tiny
from tests.api.conftest import in_memory
from tests.hostile.corpus import corpus, real
from tests.hostile.judge import Footprint, judge

EVERY = 5


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("hostile")
    return Settings(model_repository=tiny.build(folder / "models"), vector_store=folder / "vectors")


def test_the_corpus_is_large_and_always_the_same() -> None:
    requests = list(corpus())
    assert len(requests) >= 300
    assert requests == list(corpus())
    kinds = Counter(request.kind for request in requests)
    assert kinds["audio"] >= 150
    assert kinds["image"] >= 100
    assert kinds["json"] >= 100
    bodies = {request.body for request in requests}
    assert len(bodies) >= 0.95 * len(requests)
    good = {request.body for request in real()}
    assert sum(request.body in good for request in requests) <= 0.02 * len(requests)  # damage may miss


async def test_no_request_of_it_is_a_5xx_or_hangs_or_leaves_anything_behind(settings: Settings) -> None:
    app = create_app(settings)
    requests = list(corpus())[::EVERY]
    async with in_memory(app) as client:
        statuses, faults = await judge(client, real())
        assert faults == []
        await judge(client, requests[: len(requests) // 2])
        before = Footprint.of(app)
        statuses, faults = await judge(client, requests)
        after = Footprint.of(app)
        again, _ = await judge(client, real())
    assert faults == []
    assert sum(statuses.values()) == len(requests)
    assert statuses[400] + statuses[422] + statuses[415] > len(requests) / 2
    assert after.megabytes - before.megabytes < 40
    assert after.descriptors <= before.descriptors + 2
    assert after.threads <= before.threads + 1
    assert again == {200: len(real())}
