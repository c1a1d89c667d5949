"""Training for real, briefly: it learns, survives a kill, and runs on several processes."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from export.bsq import train as tokenizer
from export.bsq.model import PRESETS, AudioBSQ, TokenizerConfig
from export.mel import LogMel, MelConfig
from export.training.ema import Ema
from export.vocoder import train as vocoder
from export.vocoder.model import Vocoder, VocoderConfig
from export.weights import load_weights, restore_config


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Twenty seconds of chirps in four files."""
    folder = tmp_path / "audio"
    folder.mkdir()
    time_s = np.arange(5 * 16_000) / 16_000
    for index in range(4):
        wave = 0.4 * np.sin(2 * np.pi * (200 + 300 * index + 40 * time_s) * time_s)
        soundfile.write(folder / f"{index}.flac", wave, 16_000)
    return folder


def figures(folder: Path, name: str) -> dict[int, float]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def tokenizer_options(audio: Path, out: Path, steps: int) -> tokenizer.TrainingOptions:
    return tokenizer.TrainingOptions(
        data=audio,
        out=out,
        steps=steps,
        batch_s=2.56,
        long_frames=128,
        short_frames=64,
        warmup=2,
        adversarial=0.1,
        adversarial_from=2,
        spec_augment=0.5,
        checkpoint_gradients=True,
        bf16=True,
        log_every=1,
        save_every=2,
    )


def test_the_tokenizer_learns_and_goes_on_where_it_stopped(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    weights = load_weights(tokenizer.train(tokenizer_options(audio, out, 6)))
    first = figures(out, "rmse_db")
    assert list(first) == [1, 2, 3, 4, 5, 6]
    assert first[6] < first[1]
    config = restore_config(TokenizerConfig, weights.config)
    assert config == PRESETS["small"]
    AudioBSQ(config).load_state_dict(weights.state)

    tokenizer.train(tokenizer_options(audio, out, 8))
    assert sorted(figures(out, "rmse_db")) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_vocoder_learns_also_from_what_the_tokenizer_decodes(audio: Path, tmp_path: Path) -> None:
    coder = tokenizer.train(tokenizer_options(audio, tmp_path / "tokenizer", 1))
    out = tmp_path / "vocoder"
    options = vocoder.TrainingOptions(
        data=audio,
        out=out,
        steps=10,
        batch_s=1.28,
        crop_frames=64,
        warmup=1,
        adversarial_from=5,
        tokenizer=coder,
        log_every=1,
        save_every=5,
    )
    weights = load_weights(vocoder.train(options))
    Vocoder(restore_config(VocoderConfig, weights.config)).load_state_dict(weights.state)
    loss = figures(out, "stft")
    assert loss[6] < loss[1]  # the same FFT size, five steps later
    assert len(figures(out, "discriminator")) == 5


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "training ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command(audio: Path, out: Path, steps: int) -> list[str]:
    return [
        *("-m", "export", "train", "tokenizer", "--data", str(audio), "--out", str(out), "--steps", str(steps)),
        *("--batch-s", "1.28", "--long-frames", "64", "--short-frames", "64", "--save-every", "1", "--log-every", "1"),
    ]


def test_a_killed_run_resumes(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen([sys.executable, *command(audio, out, 100_000)], stdout=subprocess.DEVNULL)
    try:
        wait_for((out / "state.pt").exists, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = torch.load(out / "state.pt", weights_only=True)["step"]
    assert done >= 1
    subprocess.run([sys.executable, *command(audio, out, done + 2)], check=True, stdout=subprocess.DEVNULL)
    assert torch.load(out / "state.pt", weights_only=True)["step"] == done + 2
    assert max(figures(out, "loss")) == done + 2


def test_two_processes_train_one_model(audio: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = [*command(audio, out, 2), "--adversarial", "0.1", "--adversarial-from", "1"]
    subprocess.run([*launcher, *options], check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2


def test_ema_follows_parameters_and_copies_buffers() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    ema = Ema(model, decay=0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
        model[1].running_mean.fill_(7.0)
    before = ema.state["0.weight"].clone()
    ema.update(model)
    decay = 2 / 11  # the warm-up of the first update
    torch.testing.assert_close(ema.state["0.weight"], before * decay + (1 - decay))
    assert (ema.state["1.running_mean"] == 7.0).all()
    restored = Ema(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)))
    restored.load_state_dict(ema.state_dict())
    torch.testing.assert_close(restored.state, ema.state)


def test_a_full_scale_sine_is_zero_db() -> None:
    mel = LogMel(MelConfig())
    wave = torch.sin(2 * math.pi * 1000 * torch.arange(16_000) / 16_000)
    level = mel(wave)
    assert level.shape == (100, 128)
    assert -1.5 < level[10:90].max() <= 0.0
    assert (mel(torch.zeros(1)) == -80).all()
