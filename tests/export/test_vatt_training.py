"""Training for real, briefly: the embedders learn what is said, resume, and run on several processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from export.errors import ExportError
from export.vatt import minilm
from export.vatt import train as embeddings
from export.vatt.bert import Bert
from export.vatt.config import TINY, AudioConfig, TextConfig, VattConfig
from export.vatt.embed import embed_recordings, embed_texts, load_model, window_starts
from export.vatt.model import Vatt
from export.vatt.tokenizer import load_tokenizer
from export.weights import load_weights, restore_config, save_weights
from tests.export.test_training import figures

CONFIG = VattConfig(
    AudioConfig(width=64, layers=1, heads=1, tokens_a_piece=4, bands=32, window_samples=24_576),
    TextConfig(width=64, layers=1, heads=1, style="bert", embedding=64),
    dropout=0.0,
    fine_dims=64,
    dims=32,
)
SOUNDS = {"low hum": 120.0, "middle tone": 700.0, "high whistle": 3000.0, "shrill beep": 6000.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen tones in four pitches, and the weights of an untrained model to begin from."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number, (text, hz) in enumerate(4 * list(SOUNDS.items())):
        wave = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.02 * (number // 4)) * np.arange(8_000) / 16_000)
        soundfile.write(folder / f"{number}.flac", wave, 16_000)
        lines.append({"path": f"{number}.flac", "text": text, "seconds": 0.5})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    torch.manual_seed(0)
    save_weights(folder / "begin.safetensors", Vatt(CONFIG).state_dict(), CONFIG)
    return folder


def options(data: Path, out: Path, steps: int) -> embeddings.TrainingOptions:
    return embeddings.TrainingOptions(
        data=data,
        out=out,
        weights=data / "begin.safetensors",
        steps=steps,
        batch=8,
        bank=16,
        teacher=False,
        learning_rate=3e-3,
        text_rate=1.0,
        warmup=2,
        sounds=0.2,
        modality_dropout=0.05,
        log_every=1,
        save_every=100,
    )


def test_sounds_are_found_by_their_texts_after_training(data: Path, tmp_path: Path) -> None:
    weights = embeddings.train(options(data, tmp_path, 40))
    terms = figures(tmp_path, "words")
    assert np.mean([terms[step] for step in (38, 39, 40)]) < 0.8 * np.mean([terms[step] for step in (1, 2, 3)])
    assert figures(tmp_path, "found")[40] > 0.5
    assert 0.01 <= figures(tmp_path, "temperature")[40] <= 0.1
    model = load_model(weights)
    recordings = embed_recordings(model, [data / f"{number}.flac" for number in range(16)])
    texts = embed_texts(model, load_tokenizer(), list(SOUNDS))
    found = (recordings.coarse @ texts.T).argmax(1)
    assert float((found == np.arange(16) % 4).mean()) >= 0.75


def test_a_run_goes_on_where_it_stopped_and_writes_half_the_bytes(data: Path, tmp_path: Path) -> None:
    settings = replace(options(data, tmp_path, 2), half=True, bf16=True, checkpoint_gradients=True)
    embeddings.train(settings)
    weights = load_weights(embeddings.train(replace(settings, steps=4)))
    assert sorted(figures(tmp_path, "loss")) == [1, 2, 3, 4]
    assert restore_config(VattConfig, weights.config) == CONFIG
    assert {value.dtype for value in weights.state.values()} == {torch.float16}


def test_a_text_tower_that_is_not_trained_stays_as_it_was(data: Path, tmp_path: Path) -> None:
    weights = embeddings.train(replace(options(data, tmp_path, 2), text_rate=0.0, sounds=0.0))
    before, after = (load_weights(path).state for path in (data / "begin.safetensors", weights))
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert {"audio", "audio_trunk"} <= changed
    assert not {"text", "text_head"} & changed


def test_a_text_tower_of_chance_must_be_trained(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="--text-rate"):
        embeddings.train(replace(options(data, tmp_path, 2), weights=None, preset="small", text_rate=0.0))


def test_two_processes_train_one_model(data: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "export", "train", "embeddings", "--data", str(data), "--out", str(tmp_path), "--steps", "2"]
    settings = ["--weights", str(data / "begin.safetensors"), "--batch", "4", "--no-teacher", "--text-rate", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, *command, *settings, "--bank", "16"], check=True, timeout=300, env=environment)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == 2
    assert int(state["trainee"]["bank.cursor"]) == 2 * 2 * 8  # two texts of each recording, of both processes


def test_the_weights_of_minilm_are_taken_under_our_names() -> None:
    model, expected = Vatt(replace(CONFIG, text=minilm.SHAPE, dims=384)), Bert(minilm.SHAPE)
    words = torch.full((30_522, 384), torch.nan)  # those that no text has are not taken
    words[list(minilm.KEPT)] = expected.lookup.weight.detach()
    theirs = {
        "embeddings.word_embeddings.weight": words,
        "embeddings.position_embeddings.weight": expected.positions.weight - 1.0,
        "embeddings.token_type_embeddings.weight": torch.ones(2, 384),
    }
    for kind in ("weight", "bias"):
        theirs[f"embeddings.LayerNorm.{kind}"] = getattr(expected.norm, kind)
        for number, block in enumerate(expected.blocks):
            layer = f"encoder.layer.{number}"
            parts = getattr(block.attention.qkv, kind).chunk(3)
            theirs |= {
                f"{layer}.attention.self.{name}.{kind}": part
                for name, part in zip(("query", "key", "value"), parts, strict=True)
            }
            for ours, name in minilm.PARTS.items():
                theirs[f"{layer}.{name}.{kind}"] = getattr(block.get_submodule(ours), kind)
    found = Bert(minilm.SHAPE)
    found.load_state_dict(minilm.renamed(theirs))
    assert minilm.starts_from(model)
    minilm.start(model, found)
    ids = torch.randint(200, 29_000, (2, 5))
    with torch.no_grad():
        said = torch.nn.functional.normalize(expected(ids, torch.ones_like(ids) > 0), dim=-1)
        torch.testing.assert_close(model.eval().encode_text(ids, torch.ones_like(ids)), said, atol=1e-5, rtol=0)
    assert not minilm.starts_from(Vatt(CONFIG))


@pytest.mark.parametrize(("samples", "starts"), [(5, [0]), (8, [0]), (9, [0, 1]), (16, [0, 4, 8]), (17, [0, 4, 8, 9])])
def test_windows_begin_every_half_and_the_last_ends_with_the_recording(samples: int, starts: list[int]) -> None:
    assert window_starts(samples, 8) == starts


def test_an_encoder_that_is_begun_with_changes_less_the_lower_the_layer() -> None:
    with torch.device("meta"):
        model = Vatt(TINY)
    shares = {id(parameter): share for parameters, share in embeddings._begun(model) for parameter in parameters}
    layers = [model.audio.front_end, *model.audio_trunk.transformer.blocks]
    of_layers = [{shares.pop(id(parameter)) for parameter in layer.parameters()} for layer in layers]
    assert of_layers == sorted(of_layers, key=min)
    assert all(len(share) == 1 for share in of_layers)
    assert [shares.pop(id(parameter)) for parameter in model.audio_trunk.norm.parameters()] == [max(of_layers[-1])] * 2
    assert not shares
