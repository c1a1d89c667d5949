"""Schemathesis against the service, a little of it; more by hand: `tests.hostile.openapi`."""

import asyncio
from pathlib import Path

import pytest

from service.settings import Settings
from tests import tiny
from tests.api.conftest import on_socket
from tests.hostile.openapi import attack

EXAMPLES = 3


@pytest.mark.filterwarnings("default")  # of the libraries that it uses, about each other
async def test_what_the_document_says_is_what_is_answered(tmp_path: Path) -> None:
    repository = tiny.build(tmp_path / "models")
    async with on_socket(Settings(port=0, model_repository=repository, vector_store=tmp_path / "vectors")) as client:
        found = await asyncio.to_thread(lambda: list(attack(str(client.base_url), EXAMPLES)))
    assert found == [], "\n".join(f"{label}: {fault}" for label, fault in found)
