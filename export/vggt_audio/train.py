"""Trains VGGT-Audio on generated rooms: `auricle train acoustic_maps --textures DIR --preset small`.

Three stages, each from the weights of the one before (`--start`): `visual` learns geometry from pictures, `acoustic`
learns materials and to listen while all that is visual stays as it is, `joint` learns everything at once, also from
scratch. One process, or several: `torchrun --nproc-per-node 2 -m export train acoustic_maps ...`. A killed run resumes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from export.training import checkpoint, distributed
from export.training.ema import Ema
from export.training.log import TrainingLog
from export.training.schedule import warmup_cosine
from export.vggt_audio.dataset import GeneratedScenes, Shape
from export.vggt_audio.loss import Terms, supervised_loss
from export.vggt_audio.materials import CLASSES
from export.vggt_audio.model import PRESETS, VGGTAudio
from export.vggt_audio.pretrained import freeze_vggt
from export.vggt_audio.scenes import Generator
from export.vggt_audio.textures import load_textures
from export.vggt_audio.warm_start import warm_start
from export.weights import load_weights, save_weights


class Stage(StrEnum):
    visual = "visual"
    acoustic = "acoustic"
    joint = "joint"


@dataclass(frozen=True)
class TrainingOptions:
    textures: Annotated[Path, "the output of `python -m export.vggt_audio.textures`"]
    out: Annotated[Path, "checkpoints, weights and TensorBoard events"] = Path("runs/acoustic_maps")
    preset: Annotated[str, f"one of {', '.join(PRESETS)}"] = "small"
    stage: Annotated[Stage, "what is learnt"] = Stage.joint
    start: Annotated[Path | None, "weights to start from, of an earlier stage"] = None
    steps: Annotated[int, "optimizer steps"] = 3000
    width: Annotated[int, "of pictures; three quarters of it are their height"] = 168
    heard: Annotated[float, "share of batches with sound"] = 0.5
    learning_rate: Annotated[float, "peak"] = 6e-4
    final_learning_rate: Annotated[float, "fraction of the peak that the cosine ends at"] = 0.03
    warmup: Annotated[int, "steps"] = 250
    weight_decay: Annotated[float, "of matrices"] = 0.03
    clip_norm: Annotated[float, "largest norm of the gradient"] = 1.0
    material: Annotated[float, "weight of naming each patch's material, by a head that is not kept"] = 0.2
    bf16: Annotated[bool, "autocast; pays on GPUs and on CPUs with AMX"] = False
    checkpoint_gradients: Annotated[bool, "recompute activations: less memory, more time"] = False
    chunk: Annotated[int, "pictures that the dense heads work on at a time; 0: all"] = 0
    workers: Annotated[int, "processes that make rooms"] = 1
    seed: int = 0
    log_every: Annotated[int, "steps"] = 25
    save_every: Annotated[int, "steps"] = 200


class Trainee(nn.Module):
    """The model, and a linear head on its tokens that names the material of each patch: it teaches the tokens to tell
    materials apart sooner than absorption alone does, and is thrown away."""

    def __init__(self, model: VGGTAudio) -> None:
        super().__init__()
        self.model = model
        self.looks = nn.Linear(2 * model.config.embed_dim, len(CLASSES))
        self._tokens: list[Tensor] = []
        model.aggregator.register_forward_hook(self._keep)

    def _keep(self, _: nn.Module, __: Any, answer: tuple[list[Tensor], int]) -> None:
        tokens, patch_start = answer
        self._tokens = [tokens[-1][:, :, patch_start:]]

    def forward(self, images: Tensor, audio_features: Tensor | None) -> dict[str, Any]:
        answer: dict[str, Any] = self.model(images, audio_features)
        return answer | {"looks": self.looks(self._tokens.pop().float())}


def train(options: TrainingOptions) -> Path:
    """Trains until `options.steps`; returns the weights file."""
    process = distributed.start()
    torch.manual_seed(options.seed + process.rank)
    config = PRESETS[options.preset]
    model = VGGTAudio(config).to(process.device)
    warm_start(model.aggregator.patch_embed)
    if options.start is not None:
        model.load_state_dict(load_weights(options.start).state)
    if options.stage is Stage.acoustic:
        freeze_vggt(model)
    if options.checkpoint_gradients:
        model.checkpoint_gradients()
    model.chunk_frames(options.chunk or None)
    trainee = Trainee(model).to(process.device)
    optimizer = torch.optim.AdamW(_groups(trainee, options.weight_decay), lr=options.learning_rate, betas=(0.9, 0.98))
    ema = Ema(model)
    parts: dict[str, checkpoint.Stateful] = {"trainee": trainee, "optimizer": optimizer, "ema": ema}
    state_file, weights_file = options.out / "state.pt", options.out / "acoustic_maps.safetensors"
    first = checkpoint.resume(state_file, parts)
    # Without sound the projection of its features has no part in a step.
    replica = process.wrap(trainee, in_turns=True)
    batches = _batches(options, process, first)

    with TrainingLog(options.out, options.steps, first, enabled=process.is_main) as log:
        for step in range(first, options.steps):
            rate = warmup_cosine(step, warmup=options.warmup, total=options.steps, floor=options.final_learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * rate

            batch = {name: value.to(process.device) for name, value in next(batches).items()}
            images = batch["images"].permute(0, 1, 4, 2, 3).float() / 255
            with torch.autocast(process.device.type, torch.bfloat16, enabled=options.bf16):
                answer = replica(images, batch.get("audio_features"))
            terms = _terms(answer, batch, options)
            loss = torch.stack([*terms.values()]).sum()

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainee.parameters(), options.clip_norm)
            optimizer.step()
            ema.update(model)

            done = step + 1
            if done % options.log_every == 0:
                log.step(done, {"loss": loss.item()} | {name: term.item() for name, term in terms.items()})
            if process.is_main and (done % options.save_every == 0 or done == options.steps):
                save_weights(weights_file, ema.state, config, preset=options.preset, steps=done, stage=options.stage)
                checkpoint.save(state_file, parts, done)
    distributed.stop()
    return weights_file


def _terms(answer: dict[str, Any], batch: dict[str, Tensor], options: TrainingOptions) -> Terms:
    """What the stage minimises."""
    known = batch | {"valid": torch.ones_like(batch["depth"][..., 0], dtype=torch.bool)}
    terms = supervised_loss(answer, known)
    if options.stage is Stage.visual:
        terms = {name: term for name, term in terms.items() if name.startswith(("camera", "depth", "world_points"))}
    patch = PRESETS[options.preset].patch_size
    centers = batch["material"][:, :, patch // 2 :: patch, patch // 2 :: patch]
    terms["material"] = options.material * F.cross_entropy(answer["looks"].flatten(0, -2), centers.flatten())
    return terms


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases, gains and frozen parameters do not."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _batches(options: TrainingOptions, process: distributed.Process, first: int) -> Iterator[dict[str, Tensor]]:
    """Batches of about eight pictures; each process has its own rooms."""
    width, height = options.width, options.width * 3 // 4 // 14 * 14
    shapes = [
        Shape(2, 4, height, width),
        Shape(4, 2, height, width),
        Shape(2, 4, height, width),
        Shape(1, 7, height, width),
        Shape(3, 3, width, height),
        Shape(2, 4, height, width),
    ]
    generator = Generator("train", load_textures(options.textures, "train"))
    seed = options.seed * process.world_size + process.rank
    scenes = GeneratedScenes(generator, seed, first, shapes, options.heard)
    for batch in DataLoader(scenes, batch_size=None, num_workers=options.workers):
        yield {name: torch.as_tensor(value) for name, value in batch.items()}
