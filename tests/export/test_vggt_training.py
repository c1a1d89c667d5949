"""Training of VGGT-Audio for real, briefly: each stage learns its own part, from generated and from filmed rooms."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from export.errors import ExportError
from export.vggt_audio.model import PRESETS, SMALL, VGGTAudio, VGGTAudioConfig
from export.vggt_audio.objective import Stage
from export.vggt_audio.pretrained import NEW
from export.vggt_audio.scenes import Generator
from export.vggt_audio.train import TrainingOptions, train
from export.weights import load_weights, restore_config, save_weights
from tests.export.test_training import figures
from tests.export.test_vggt_model import TINY
from tests.filmed import filmed_scene, write_capture
from tests.papered import papers, write_papers

CONFIG = replace(TINY, audio_feature_dim=256, enable_track=False, enable_point=False)


@pytest.fixture(scope="module")
def textures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_papers(tmp_path_factory.mktemp("textures"))


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captures")
    write_capture(folder / "room.npz", filmed_scene(Generator("train", papers()).scene(1, 6, 42, 56)))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / "tiny.safetensors"
    torch.manual_seed(0)
    save_weights(path, VGGTAudio(CONFIG).state_dict(), CONFIG)
    return path


def options(out: Path, start: Path | None, steps: int, **more: Any) -> TrainingOptions:
    usual = {"width": 56, "warmup": 1, "workers": 0, "log_every": 1, "save_every": 100, "learning_rate": 3e-3}
    return TrainingOptions(out=out, weights=start, steps=steps, **(usual | more))


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_it_learns_and_goes_on_where_it_stopped(textures: Path, start: Path, tmp_path: Path) -> None:
    weights = load_weights(train(options(tmp_path, start, 12, textures=textures, heard=0.2)))
    loss = figures(tmp_path, "loss")
    assert list(loss) == list(range(1, 13))
    assert sum(loss[step] for step in (10, 11, 12)) < 0.8 * sum(loss[step] for step in (1, 2, 3))
    heard = figures(tmp_path, "rendering")
    assert 0 < len(heard) < 12
    assert restore_config(VGGTAudioConfig, weights.config) == CONFIG
    VGGTAudio(CONFIG).load_state_dict(weights.state)

    train(options(tmp_path, start, 14, textures=textures, heard=0.2))
    assert sorted(figures(tmp_path, "loss")) == list(range(1, 15))
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 14


@pytest.mark.parametrize("stage", [Stage.visual, Stage.acoustic, Stage.joint])
def test_a_stage_changes_what_it_learns_and_nothing_else(
    textures: Path, captures: Path, start: Path, tmp_path: Path, stage: Stage
) -> None:
    rooms = {"textures": textures, "captures": captures, "filmed": 0.7, "heard": 0.75}
    after = load_weights(train(options(tmp_path, start, 6, stage=stage, **rooms))).state
    names = changed(load_weights(start).state, after)
    hears = {name for name in names if name.startswith(NEW)}
    if stage is not Stage.visual:
        assert {name.removeprefix("aggregator.").split(".")[0] for name in hears} == {
            "audio_token",
            "audio_proj",
            "acoustic_head",
        }
    sees = names - hears
    assert bool(hears) == (stage is not Stage.visual)
    assert bool(sees) == (stage is not Stage.acoustic)
    if stage is not Stage.acoustic:
        assert {name.split(".")[0] for name in sees} == {"aggregator", "camera_head", "depth_head"}


def test_cameras_are_learnt_behind_all_that_sees(textures: Path, start: Path, tmp_path: Path) -> None:
    train(options(tmp_path, start, 3, textures=textures, stage=Stage.cameras))
    assert set(figures(tmp_path, "camera_matches")) == {1, 2, 3}
    weights = load_weights(tmp_path / "acoustic_maps.safetensors")
    assert restore_config(VGGTAudioConfig, weights.config).match_depth == SMALL.match_depth
    before = load_weights(start).state
    assert not changed(before, {name: weights.state[name] for name in before})
    assert any(name.startswith("match_head.") for name in weights.state.keys() - before.keys())


def test_filmed_rooms_alone_teach_materials_by_their_sound(captures: Path, start: Path, tmp_path: Path) -> None:
    train(options(tmp_path, start, 3, captures=captures, stage=Stage.acoustic, rendering=1.0))
    assert set(figures(tmp_path, "room_absorption")) == {1, 2, 3}
    before, after = load_weights(start).state, load_weights(tmp_path / "acoustic_maps.safetensors").state
    assert any(name.startswith("acoustic_head.") for name in changed(before, after))


def test_weights_that_ship_take_half_the_space(textures: Path, start: Path, tmp_path: Path) -> None:
    whole, half = (
        train(options(tmp_path / str(half), start, 1, textures=textures, half=half)) for half in (False, True)
    )
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for name, value in load_weights(half).state.items():
        torch.testing.assert_close(value.float(), load_weights(whole).state[name].float(), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("saving", [{"checkpoint_gradients": True}, {"chunk": 3}])
def test_saving_memory_changes_no_number(textures: Path, start: Path, tmp_path: Path, saving: dict[str, Any]) -> None:
    plain = load_weights(train(options(tmp_path / "plain", start, 2, textures=textures))).state
    saved = load_weights(train(options(tmp_path / "saved", start, 2, textures=textures, **saving))).state
    for name, value in plain.items():
        torch.testing.assert_close(saved[name], value, atol=2e-4, rtol=1e-3)


def test_half_precision_learns_the_same_to_its_precision(textures: Path, start: Path, tmp_path: Path) -> None:
    train(options(tmp_path / "full", start, 2, textures=textures))
    train(options(tmp_path / "half", start, 2, textures=textures, bf16=True))
    full, half = figures(tmp_path / "full", "loss"), figures(tmp_path / "half", "loss")
    assert half != full
    assert half == {step: pytest.approx(value, rel=0.05) for step, value in full.items()}


def test_published_weights_stand_in_for_the_first_stage(textures: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = VGGTAudio(replace(SMALL, num_audio_tokens=0, enable_acoustic=False)).state_dict()
    save_file(published, tmp_path / "vggt.safetensors")
    taught = options(tmp_path / "run", None, 1, textures=textures, vggt=str(tmp_path / "vggt.safetensors"), width=64)
    weights = load_weights(train(replace(taught, stage=Stage.acoustic)))
    assert restore_config(VGGTAudioConfig, weights.config) == PRESETS["small"]
    assert all(torch.equal(weights.state[name], value) for name, value in published.items())


def test_geometry_that_is_learnt_is_in_metres(textures: Path, tmp_path: Path) -> None:
    relative = replace(CONFIG, metric=False)
    save_weights(tmp_path / "start.safetensors", VGGTAudio(relative).state_dict(), relative)
    for stage, metric in ((Stage.acoustic, False), (Stage.visual, True)):
        out = tmp_path / stage
        weights = train(options(out, tmp_path / "start.safetensors", 1, textures=textures, stage=stage))
        assert load_weights(weights).config["metric"] is metric


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "neither --textures nor --captures"),
        ({"vggt": "someone/vggt"}, "--weights or --vggt"),
        ({"weights": Path("absent.safetensors")}, "absent"),
    ],
)
def test_what_cannot_begin_is_explained(start: Path, tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        train(replace(options(tmp_path, start, 1), **wrong))


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_weights(path, VGGTAudio(CONFIG).state_dict(), replace(CONFIG, embed_dim=64))
    with pytest.raises(ExportError, match="size mismatch"):
        train(options(tmp_path, path, 1))


def test_two_processes_train_one_model(textures: Path, captures: Path, start: Path, tmp_path: Path) -> None:
    """Each has rooms of its own kind in a step: filmed or generated, with sound or without."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "export", "train", "acoustic_maps", "--textures", textures, "--captures", captures]
    numbers = {"filmed": 0.5, "heard": 0.3, "width": 56, "steps": 4, "warmup": 1, "log-every": 1}
    arguments = [text for name, number in numbers.items() for text in (f"--{name}", number)]
    run = [*launcher, *command, "--weights", start, "--out", tmp_path, *arguments]
    subprocess.run([str(part) for part in run], check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 4
    names = changed(load_weights(start).state, load_weights(tmp_path / "acoustic_maps.safetensors").state)
    assert any(name.startswith("acoustic_head.") for name in names)


def test_stored_rooms_teach_too(textures: Path, start: Path, tmp_path: Path) -> None:
    """Maps of a part of the pictures, places of patches, Muon for the trunk: the fast way, beside the plain one."""
    fast = {
        "width": 112,
        "rooms": 3,
        "store": tmp_path / "rooms",
        "pictures": 8,
        "mapped": 0.4,
        "places": 1.0,
        "muon": True,
        "matches": 0.5,
    }
    weights = train(options(tmp_path, start, 9, textures=textures, heard=0.5, rendering=0.0, **fast))
    places = figures(tmp_path, "depth_places")
    assert places[9] < places[1]
    assert len(figures(tmp_path, "camera_matches")) == 9
    assert {"aggregator", "camera_head", "depth_head", "acoustic_head"} == {
        name.split(".")[0] for name in changed(load_weights(start).state, load_weights(weights).state)
    }
    assert len(list((tmp_path / "rooms").iterdir())) == 3
