"""Search as a user meets it: a service that is killed loses nothing, and the command line indexes and finds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.web.keys import KeyFile
from tests import sounds
from tests.e2e.conftest import ROOT, Service, environment

SPACE = {"dims": 32, "space_id": "other-model"}
BATCH = 50


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What processes that are started find their collections in."""
    monkeypatch.setenv("AURICLE_VECTOR_STORE", str(tmp_path / "vectors"))
    return tmp_path / "vectors"


def batch(number: int) -> bytes:
    """A body of items whose vectors tell their numbers."""
    items = [
        {"id": f"i{n}", "vector": np.random.default_rng(n).normal(size=32).tolist(), "metadata": {"n": n}}
        for n in range(number * BATCH, (number + 1) * BATCH)
    ]
    return json.dumps({"items": items, "space_id": "other-model"}).encode()


def write_until_killed(service: Service, acknowledged: int) -> int:
    """Writes one batch after another and kills the service while it is at one; returns how many it acknowledged."""
    headers = {"Content-Type": "application/json"}
    with httpx.Client(base_url=service.url, timeout=60) as client:
        assert client.put("/v1/collections/own", json=SPACE).status_code == 200
        for _ in range(5):
            answer = client.post("/v1/collections/own/items", content=batch(acknowledged), headers=headers)
            assert answer.status_code == 200, answer.text
            acknowledged += 1

        def body() -> Iterator[bytes]:
            whole = batch(acknowledged)
            yield whole[:-1]
            killer.communicate(b"now\n")  # the last byte comes and the kill with it: in the middle of the write
            yield whole[-1:]

        command = [sys.executable, "-c", f"import os; input(); os.kill({service.process.pid}, 9)"]
        killer = subprocess.Popen(command, stdin=subprocess.PIPE)
        with pytest.raises(httpx.TransportError):
            client.post("/v1/collections/own/items", content=body(), headers=headers)
    service.close()
    return acknowledged


def test_kill_9_in_the_middle_of_writing_loses_nothing_that_was_acknowledged(repository: Path, store: Path) -> None:
    acknowledged = 0
    for _ in range(2):
        acknowledged = write_until_killed(Service(repository), acknowledged)
    service = Service(repository)
    try:
        with httpx.Client(base_url=service.url, timeout=60) as client:
            stats = client.get("/v1/collections/own").json()
            assert stats["items"] in (acknowledged * BATCH, (acknowledged + 1) * BATCH)  # the last one: all or nothing
            for n in range(0, acknowledged * BATCH, 7):
                vector = np.random.default_rng(n).normal(size=32).tolist()
                query = {"vector": vector, "space_id": "other-model", "k": 1, "filter": {"n": n}}
                (hit,) = client.post("/v1/collections/own/search", json=query).json()["results"]
                assert hit["id"] == f"i{n}"
                assert hit["score"] == pytest.approx(1, abs=1e-5)
    finally:
        service.close()


def auricle(repository: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(repository) | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "deep er").mkdir(parents=True)
    for name in sounds.CLIPS:
        shutil.copy(sounds.DATA / f"{name}.flac", folder)
    shutil.copy(sounds.DATA / "vit-m-hlava.ogg", folder / "deep er")
    (folder / "note.txt").write_text("a dog barks")
    (folder / "picture.jpg").write_bytes(b"\xff\xd8")
    return folder


def test_a_folder_is_indexed_once_and_found_by_a_sentence(repository: Path, store: Path, folder: Path) -> None:
    (folder / "broken.wav").write_bytes(b"no sound")
    first = auricle(repository, "index", folder, "--collection", "recordings")
    assert first.returncode == 1
    assert "4 indexed, 0 already there, 1 failed" in first.stderr
    assert "broken.wav: the bytes are no audio format" in first.stderr
    (folder / "broken.wav").unlink()
    os.utime(folder / "note.txt", (1, 1))
    again = auricle(repository, "index", folder, "--collection", "recordings")
    assert again.returncode == 0, again.stderr
    assert "1 indexed, 3 already there, 0 failed" in again.stderr

    found = auricle(repository, "search", "a dog barks", "-k", "1")
    assert found.returncode == 0, found.stderr
    assert "note.txt" in found.stdout
    assert "characters 0-11" in found.stdout
    by_sound = auricle(
        repository, "search", folder / "vm-deleted.flac", "-k", "1", "--filter", '{"bytes": {"$gt": 99}}'
    )
    assert "vm-deleted.flac" in by_sound.stdout
    assert "0:00.0-0:01.4" in by_sound.stdout


def test_a_running_service_owns_the_store_and_is_asked_by_its_address(
    store: Path, service: Service, repository: Path, folder: Path
) -> None:
    written = auricle(repository, "index", folder, "--collection", "recordings", "--url", service.url)
    assert written.returncode == 0, written.stderr
    refused = auricle(repository, "search", "a dog barks")
    assert refused.returncode == 1
    assert "Another process has the vector store open" in refused.stderr
    found = auricle(repository, "search", "a dog barks", "--url", service.url)
    assert "note.txt" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["search", "a dog", "--collection", "none"], 1, "There is no collection 'none'"),
        (["search", "a dog", "--filter", "{"], 2, "--filter is no JSON"),
        (["search", "a dog", "--url", "http://127.0.0.1:9"], 1, "does not answer"),
    ],
)
def test_what_cannot_be_found_is_said(
    repository: Path, store: Path, arguments: list[str], code: int, text: str
) -> None:
    result = auricle(repository, *arguments)
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_that_asks_for_a_key_is_searched_with_one(
    repository: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, secret = KeyFile().with_new("anna", None, None)
    file.write(tmp_path / "keys.json")
    monkeypatch.setenv("AURICLE_API_KEYS_FILE", str(tmp_path / "keys.json"))
    service = Service(repository)
    try:
        refused = auricle(repository, "search", "a dog", "--url", service.url)
        monkeypatch.setenv("AURICLE_API_KEY", secret)
        asked = auricle(repository, "search", "a dog", "--url", service.url)
    finally:
        service.close()
    assert refused.returncode == asked.returncode == 1
    assert "send an API key" in refused.stderr
    assert "API key" not in asked.stderr  # there is no collection yet
