"""Trains the tokenizer: `auricle train tokenizer --data DIR --preset small`.

One process, or several: `torchrun --nproc-per-node 2 -m export train tokenizer ...`. A killed run resumes from its last
checkpoint. Every `save_every` steps the averaged weights are written as safetensors, for `auricle export --checkpoint`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from export import datasets
from export.augment import mask_spectrogram
from export.bsq.discriminator import PatchDiscriminator
from export.bsq.loss import (
    adaptive_weight,
    generator_loss,
    gradient_penalty,
    hinge_discriminator_loss,
    quantizer_weight,
    reconstruction_loss,
)
from export.bsq.model import PRESETS, AudioBSQ
from export.mel import LogMel, MelConfig, normalise
from export.training import checkpoint, distributed
from export.training.ema import Ema
from export.training.log import TrainingLog
from export.training.schedule import warmup_cosine
from export.weights import save_weights


@dataclass(frozen=True)
class TrainingOptions:
    data: Annotated[Path, "a folder of audio, LibriSpeech, Common Voice, or the output of `auricle corpus`"]
    out: Annotated[Path, "checkpoints, weights and TensorBoard events"] = Path("runs/tokenizer")
    preset: Annotated[str, f"one of {', '.join(PRESETS)}"] = "small"
    steps: Annotated[int, "optimizer steps"] = 8000
    batch_s: Annotated[float, "seconds of audio a step and process"] = 40.96
    long_frames: Annotated[int, "frames of a crop in every other step: a window as served"] = 1024
    short_frames: Annotated[int, "frames of a crop in the other steps: a window of a stream"] = 256
    learning_rate: Annotated[float, "peak"] = 1.5e-3
    final_learning_rate: Annotated[float, "fraction of the peak that the cosine ends at"] = 0.02
    warmup: Annotated[int, "steps"] = 200
    weight_decay: float = 1e-4
    clip_norm: Annotated[float, "largest norm of the gradient"] = 1.0
    delta_weight: Annotated[float, "weight of the L1 of frame-to-frame differences"] = 0.5
    quantizer_loss: Annotated[float, "weight of the commitment and entropy terms"] = 0.1
    adversarial: Annotated[float, "weight of the PatchGAN term; 0 trains without a discriminator"] = 0.0
    adversarial_from: Annotated[int, "first step with the PatchGAN term"] = 2000
    spec_augment: Annotated[float, "probability of each mask; costs fidelity in a pure codec"] = 0.0
    bf16: Annotated[bool, "autocast; pays on GPUs and on CPUs with AMX"] = False
    checkpoint_gradients: Annotated[bool, "recompute activations: less memory, more time"] = False
    workers: Annotated[int, "processes that read audio"] = 0
    seed: int = 0
    log_every: Annotated[int, "steps"] = 20
    save_every: Annotated[int, "steps"] = 500


def train(options: TrainingOptions) -> Path:
    """Trains until `options.steps`; returns the weights file."""
    process = distributed.start()
    torch.manual_seed(options.seed + process.rank)
    mel_config = MelConfig()
    config = PRESETS[options.preset]
    model = AudioBSQ(config).to(process.device)
    if options.checkpoint_gradients:
        model.checkpoint_gradients()
    front_end = LogMel(mel_config).to(process.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=options.weight_decay
    )
    ema = Ema(model)
    adversary = Adversary(options, process) if options.adversarial else None
    parts: dict[str, checkpoint.Stateful] = {"model": model, "optimizer": optimizer, "ema": ema}
    if adversary is not None:
        parts |= {"discriminator": adversary.discriminator, "discriminator_optimizer": adversary.optimizer}
    state_file, weights_file = options.out / "state.pt", options.out / "tokenizer.safetensors"
    start = checkpoint.resume(state_file, parts)
    replica = process.wrap(model)
    batches = _batches(options, mel_config, process.rank, start)

    with TrainingLog(options.out, options.steps, start, enabled=process.is_main) as log:
        for step in range(start, options.steps):
            rate = warmup_cosine(step, warmup=options.warmup, total=options.steps, floor=options.final_learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * rate

            with torch.no_grad():
                target = normalise(front_end(next(batches).to(process.device)), mel_config)
            visible = mask_spectrogram(target, probability=options.spec_augment) if options.spec_augment else target
            with torch.autocast(process.device.type, torch.bfloat16, enabled=options.bf16):
                reconstruction, quantized = replica(visible)
            reconstruction = reconstruction.float()
            fidelity = reconstruction_loss(reconstruction, target, options.delta_weight)
            loss = fidelity + quantizer_weight(step, options.quantizer_loss) * quantized.loss
            if adversary is not None and step >= options.adversarial_from:
                loss = loss + adversary.generator_term(reconstruction, fidelity, model.decoder.head_out.weight)

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
            optimizer.step()
            ema.update(model)
            if adversary is not None and step >= options.adversarial_from:
                adversary.update(step, target, reconstruction.detach())

            done = step + 1
            if done % options.log_every == 0:
                error_db = 40 * (reconstruction.detach() - target).square().mean().sqrt()
                bits = ((quantized.tokens.reshape(-1, 1) // model.quantizer.powers) % 2).double().mean(0)
                log.step(done, {"loss": loss.item(), "rmse_db": error_db.item(), "bit_entropy": _entropy(bits)})
            if process.is_main and (done % options.save_every == 0 or done == options.steps):
                save_weights(weights_file, ema.state, config, preset=options.preset, steps=done)
                checkpoint.save(state_file, parts, done)
    distributed.stop()
    return weights_file


class Adversary:
    """The PatchGAN discriminator, its optimizer and the terms of the hinge game."""

    def __init__(self, options: TrainingOptions, process: distributed.Process) -> None:
        self.weight = options.adversarial
        self.discriminator = PatchDiscriminator().to(process.device)
        self.replica = process.wrap(self.discriminator)
        self.optimizer = torch.optim.AdamW(self.discriminator.parameters(), lr=options.learning_rate, betas=(0.9, 0.99))

    def generator_term(self, fake: Tensor, fidelity: Tensor, last_layer: Tensor) -> Tensor:
        self.discriminator.requires_grad_(False)
        adversarial = generator_loss(self.discriminator(fake))
        return self.weight * adaptive_weight(fidelity, adversarial, last_layer) * adversarial

    def update(self, step: int, real: Tensor, fake: Tensor) -> None:
        self.discriminator.requires_grad_(True)
        loss = hinge_discriminator_loss(*self.replica(torch.cat([real, fake])).chunk(2))
        if step % 16 == 0:  # lazy regularisation: every 16th step, 16 times as strong (Karras et al., 2020)
            loss = loss + 16 * 5.0 * gradient_penalty(self.discriminator, real)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def _batches(options: TrainingOptions, mel: MelConfig, rank: int, start: int) -> Iterator[Tensor]:
    clips = datasets.find_clips(options.data)
    loaders = []
    for frames in (options.long_frames, options.short_frames):
        samples = frames * mel.hop_length
        crops = datasets.Crops(clips, samples, mel.sample_rate, seed=hash((options.seed, rank, start, frames)))
        size = max(1, round(options.batch_s * mel.sample_rate / samples))
        loaders.append(iter(DataLoader(crops, size, num_workers=options.workers)))
    return itertools.chain.from_iterable(zip(*loaders, strict=True))


def _entropy(p: Tensor) -> float:
    """Sum of the binary entropies of probabilities p [d], in bits."""
    p = p.clamp(1e-9, 1 - 1e-9)
    return float(-(p * p.log2() + (1 - p) * (1 - p).log2()).sum())
