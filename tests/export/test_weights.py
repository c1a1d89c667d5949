"""Weights keep their configuration and have one digest; nothing but weights is read."""

import hashlib
import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from export.bsq.model import SMALL, TokenizerConfig
from export.errors import ExportError
from export.vocoder.model import VocoderConfig
from export.weights import load_weights, pack_weights, restore_config, save_weights

STATE = {"b": torch.arange(6.0).reshape(2, 3).t(), "a": torch.zeros(3, dtype=torch.int64)}


def test_weights_come_back_with_their_configuration(tmp_path: Path) -> None:
    path = tmp_path / "new" / "w.safetensors"
    save_weights(path, STATE, SMALL, steps=12)
    weights = load_weights(path)
    assert weights.kind == "TokenizerConfig"
    assert restore_config(TokenizerConfig, weights.config) == SMALL
    assert all(torch.equal(weights.state[name], tensor) for name, tensor in STATE.items())
    assert [child.name for child in path.parent.iterdir()] == ["w.safetensors"]


def test_the_digest_is_that_of_the_file_and_the_same_for_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, STATE, SMALL, steps=12, data="speech")
    assert load_weights(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert pack_weights(dict(reversed(STATE.items())), SMALL, data="speech", steps=12) == path.read_bytes()
    assert pack_weights(STATE, replace(SMALL, layers=5), steps=12, data="speech") != path.read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        pickle.dumps({"model": {}}),
        safetensors.torch.save({"a": STATE["a"]}),
        safetensors.torch.save({"a": STATE["a"]}, {"auricle": "{"}),
        safetensors.torch.save({"a": STATE["a"]}, {"auricle": json.dumps({"config": {}})}),
        pack_weights(STATE, SMALL)[:-1],
    ],
    ids=["empty", "noise", "pickle", "no metadata", "broken metadata", "no kind", "truncated"],
)
def test_anything_but_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"w\.safetensors"):
        load_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="absent"):
        load_weights(tmp_path / "absent.safetensors")


def test_a_configuration_of_another_version_is_refused() -> None:
    with pytest.raises(ExportError, match="no field colour"):
        restore_config(VocoderConfig, asdict(VocoderConfig()) | {"colour": 1})
