"""Trains the vocoder: `auricle train vocoder --data DIR --preset small [--tokenizer FILE]`.

First on spectral losses alone, then (from `adversarial_from`) against discriminators too. With a trained tokenizer a
part of the batches is vocoded from its reconstructions: a vocoder that saw only true mels buzzes on coded ones. Each
step uses one FFT size and one pair of discriminators in turn: using all of them would cost several times as much.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from export import datasets
from export.bsq.model import AudioBSQ, TokenizerConfig
from export.mel import LogMel, MelConfig, denormalise, normalise
from export.training import checkpoint, distributed
from export.training.ema import Ema
from export.training.log import TrainingLog
from export.training.schedule import warmup_cosine
from export.vocoder.discriminator import WaveformDiscriminator
from export.vocoder.loss import discriminator_loss, feature_matching_loss, generator_loss, stft_loss
from export.vocoder.model import PRESETS, Vocoder
from export.weights import load_weights, restore_config, save_weights

STFT_SIZES = (128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class TrainingOptions:
    data: Annotated[Path, "a folder of audio, LibriSpeech, Common Voice, or the output of `auricle corpus`"]
    out: Annotated[Path, "checkpoints, weights and TensorBoard events"] = Path("runs/vocoder")
    preset: Annotated[str, f"one of {', '.join(PRESETS)}"] = "small"
    steps: Annotated[int, "optimizer steps"] = 10_000
    batch_s: Annotated[float, "seconds of audio a step and process"] = 10.24
    crop_frames: Annotated[int, "frames of a crop"] = 256
    learning_rate: Annotated[float, "peak; the discriminators' is half"] = 1e-3
    final_learning_rate: Annotated[float, "fraction of the peak that the cosine ends at"] = 0.05
    warmup: Annotated[int, "steps"] = 200
    weight_decay: float = 1e-4
    clip_norm: Annotated[float, "largest norm of the gradient"] = 10.0
    stft_weight: Annotated[float, "weight of the spectral loss"] = 10.0
    matching_weight: Annotated[float, "weight of feature matching"] = 2.0
    adversarial_from: Annotated[int, "first step with discriminators"] = 6_000
    tokenizer: Annotated[Path | None, "weights whose reconstructions are vocoded too"] = None
    decoded: Annotated[float, "fraction of the batches that are reconstructions"] = 0.5
    bf16: Annotated[bool, "autocast; pays on GPUs and on CPUs with AMX"] = False
    workers: Annotated[int, "processes that read audio"] = 0
    seed: int = 0
    log_every: Annotated[int, "steps; a multiple of the number of FFT sizes, or figures jump between them"] = 20
    save_every: Annotated[int, "steps"] = 500


def train(options: TrainingOptions) -> Path:
    """Trains until `options.steps`; returns the weights file."""
    process = distributed.start()
    torch.manual_seed(options.seed + process.rank)
    mel_config, config = MelConfig(), PRESETS[options.preset]
    front_end = LogMel(mel_config).to(process.device)
    tokenizer = _tokenizer(options.tokenizer, process.device)
    model = Vocoder(config).to(process.device)
    discriminator = WaveformDiscriminator().to(process.device)
    optimizer, opponent = (
        torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, betas=(0.8, 0.9), weight_decay=options.weight_decay
        )
        for network in (model, discriminator)
    )
    ema = Ema(model)
    parts: dict[str, checkpoint.Stateful] = {
        "model": model,
        "ema": ema,
        "optimizer": optimizer,
        "discriminator": discriminator,
        "opponent": opponent,
    }
    state_file, weights_file = options.out / "state.pt", options.out / "vocoder.safetensors"
    start = checkpoint.resume(state_file, parts)
    generate, judge = process.wrap(model), process.wrap(discriminator, in_turns=True)
    batches = _batches(options, mel_config, process.rank, start)
    rng = random.Random(f"{options.seed}/{process.rank}/{start}")

    with TrainingLog(options.out, options.steps, start, enabled=process.is_main) as log:
        for step in range(start, options.steps):
            rate = warmup_cosine(step, warmup=options.warmup, total=options.steps, floor=options.final_learning_rate)
            _set_learning_rate(optimizer, options.learning_rate * rate)
            _set_learning_rate(opponent, options.learning_rate / 2 * rate)

            target = next(batches).to(process.device)
            with torch.no_grad():
                mel = normalise(front_end(target), mel_config)
                if tokenizer is not None and rng.random() < options.decoded:
                    mel = normalise(denormalise(tokenizer.decode(tokenizer.encode(mel)), mel_config), mel_config)
            with torch.autocast(process.device.type, torch.bfloat16, enabled=options.bf16):
                estimate = generate(mel)
            estimate = estimate.float()
            fidelity = stft_loss(estimate, target, STFT_SIZES[step % len(STFT_SIZES)])
            loss = options.stft_weight * fidelity
            figures = {"stft": fidelity}
            adversarial = step >= options.adversarial_from
            if adversarial:
                discriminator.requires_grad_(False)
                real, fake = discriminator(target, step), discriminator(estimate, step)
                figures |= {"generator": generator_loss(fake), "matching": feature_matching_loss(real, fake)}
                loss = loss + figures["generator"] + options.matching_weight * figures["matching"]
            _descend(optimizer, loss, model, options.clip_norm)
            ema.update(model)
            if adversarial:
                discriminator.requires_grad_(True)
                both = judge(torch.cat([target, estimate.detach()]), step)
                figures["discriminator"] = discriminator_loss(both)
                _descend(opponent, figures["discriminator"], discriminator, options.clip_norm)

            done = step + 1
            if done % options.log_every == 0:
                log.step(done, {name: value.item() for name, value in figures.items()})
            if process.is_main and (done % options.save_every == 0 or done == options.steps):
                save_weights(weights_file, ema.state, config, preset=options.preset, steps=done)
                checkpoint.save(state_file, parts, done)
    distributed.stop()
    return weights_file


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, network: nn.Module, clip_norm: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


def _tokenizer(path: Path | None, device: torch.device) -> AudioBSQ | None:
    if path is None:
        return None
    weights = load_weights(path)
    model = AudioBSQ(restore_config(TokenizerConfig, weights.config))
    model.load_state_dict(weights.state)
    return model.eval().requires_grad_(False).to(device)


def _batches(options: TrainingOptions, mel: MelConfig, rank: int, start: int) -> Iterator[Tensor]:
    samples = options.crop_frames * mel.hop_length
    seed = hash((options.seed, rank, start))
    crops = datasets.Crops(datasets.find_clips(options.data), samples, mel.sample_rate, seed=seed)
    size = max(1, round(options.batch_s * mel.sample_rate / samples))
    return iter(DataLoader(crops, size, num_workers=options.workers))
