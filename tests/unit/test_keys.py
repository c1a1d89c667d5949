"""API keys: hashed at rest, several of a name, read again when their file changes."""

import json
import os
import stat
from pathlib import Path

import pytest

from service.web.keys import PREFIX, Key, KeyFile, Keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def add(path: Path, name: str, **limits: float) -> str:
    file = KeyFile.read(path) if path.exists() else KeyFile()
    file, secret = file.with_new(name, limits.get("rate_limit"), None)
    file.write(path)
    return secret


def found(keys: Keys, secret: str) -> Key | None:
    """What is found once the file is looked at again."""
    keys._checked = float("-inf")
    return keys.find(secret)


def test_a_key_is_found_by_itself_and_never_kept(path: Path) -> None:
    secret = add(path, "anna", rate_limit=60)
    key = Keys(path).find(secret)
    assert key is not None
    assert (key.name, key.rate_limit) == ("anna", 60)
    assert secret.startswith(PREFIX)
    assert len(secret) > 40
    assert secret.removeprefix(PREFIX) not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("secret", ["", "auricle_", "anna", "\udcff", "x" * 100_000])
def test_nothing_else_is(path: Path, secret: str) -> None:
    real = add(path, "anna")
    keys = Keys(path)
    assert keys.find(secret) is None
    assert keys.find(real[:-1]) is None
    assert keys.find(json.loads(path.read_text())["keys"][0]["sha256"]) is None


def test_a_key_is_rotated_while_the_service_runs(path: Path) -> None:
    old = add(path, "anna")
    keys = Keys(path)
    new = add(path, "anna")
    assert found(keys, old)
    assert found(keys, new)
    KeyFile.read(path).without("anna", keep_newest=True).write(path)
    assert found(keys, old) is None
    assert found(keys, new)
    KeyFile.read(path).without("anna", keep_newest=False).write(path)
    assert found(keys, new) is None


@pytest.mark.parametrize("content", ["", "{", '{"keys": [{"name": "a"}]}', '{"keys": 3}'])
def test_a_file_that_breaks_is_refused_at_the_start_and_passed_over_later(path: Path, content: str) -> None:
    secret = add(path, "anna")
    keys = Keys(path)
    path.write_text(content)
    with pytest.raises(ValueError, match=r"keys\.json"):
        Keys(path)
    assert found(keys, secret)
    path.unlink()
    assert found(keys, secret)


def test_a_link_that_is_turned_is_seen(path: Path, tmp_path: Path) -> None:
    """As Kubernetes and Docker change secrets."""
    first, second = tmp_path / "1", tmp_path / "2"
    add(first, "anna")
    secret = add(second, "anna")
    os.utime(second, ns=(first.stat().st_atime_ns, first.stat().st_mtime_ns))
    path.symlink_to(first)
    keys = Keys(path)
    path.unlink()
    path.symlink_to(second)
    assert found(keys, secret)


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "-a", "a" * 65, "ä"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        KeyFile().with_new(name, None, None)
