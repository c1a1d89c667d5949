"""Trains VGGT-Audio on generated and on filmed rooms: `auricle train acoustic_maps --textures DIR --captures DIR`.

Three stages, each from the weights of the one before (`--weights`): `visual` learns geometry from pictures, for which
published weights may stand in (`--vggt`); `acoustic` learns materials and to listen while all that is visual stays as
it is; `joint` learns everything at once, also from scratch; `cameras`, behind them, learns which patches of two views
show the same, and leaves all else as it is. One process, or several: `torchrun --nproc-per-node 2 -m
export train acoustic_maps ...`. A killed run resumes.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from export.errors import ExportError
from export.training import checkpoint, distributed
from export.training.ema import Ema
from export.training.log import TrainingLog
from export.training.schedule import warmup_cosine
from export.vggt_audio.capture_files import find_captures, read_capture
from export.vggt_audio.captures import Captures
from export.vggt_audio.dataset import Batches, FilmedRooms, GeneratedScenes, Mixture, Shape
from export.vggt_audio.efficientnet import EfficientNetEmbed, load_imagenet
from export.vggt_audio.model import PRESETS, VGGTAudio, VGGTAudioConfig
from export.vggt_audio.objective import Objective, Stage
from export.vggt_audio.replay import StoredScenes
from export.vggt_audio.scenes import Generator
from export.vggt_audio.sound import LEAD_S, RECORDED_S, SAMPLE_RATE
from export.vggt_audio.store import Store
from export.vggt_audio.textures import load_textures
from export.vggt_audio.trainee import CamerasTrainee, Trainee, freeze
from export.vggt_audio.vit import VisionTransformer
from export.vggt_audio.warm_start import warm_start
from export.weights import load_weights, restore_config, save_weights

logger = logging.getLogger(__name__)

STORED_VIEWS, STORED_WIDTH = 6, 224  # of each room that is kept; whole fractions of the width can be trained at


@dataclass(frozen=True)
class TrainingOptions:
    textures: Annotated[Path | None, "of generated rooms: the output of `python -m export.vggt_audio.textures`"] = None
    captures: Annotated[Path | None, "a folder of filmed rooms in metres, see `export.vggt_audio.capture_files`"] = None
    filmed: Annotated[float, "share of batches with filmed rooms, where there are both"] = 0.25
    out: Annotated[Path, "checkpoints, weights and TensorBoard events"] = Path("runs/acoustic_maps")
    preset: Annotated[str, f"one of {', '.join(PRESETS)}"] = "small"
    stage: Annotated[Stage, "what is learnt"] = Stage.joint
    weights: Annotated[Path | None, "of an earlier stage; their configuration replaces the preset"] = None
    vggt: Annotated[str | None, "published weights of VGGT that fit the preset: a file, a folder or a hub id"] = None
    rooms: Annotated[int, "generated rooms that are kept and shown many times; 0: none is shown twice"] = 0
    store: Annotated[Path, "where they are kept, 1.4 MB each"] = Path("~/.cache/auricle/rooms")
    mapped: Annotated[float, "share of the pictures whose maps are learnt from in each step"] = 1.0
    pictures: Annotated[int, "in a step, about"] = 8
    muon: Annotated[bool, "Muon for the transformer's matrices (Jordan et al., 2024), AdamW for the rest"] = False
    steps: Annotated[int, "optimizer steps"] = 3000
    width: Annotated[int, "of pictures; three quarters of it, in whole patches, are their height"] = 224
    heard: Annotated[float, "share of batches with sound"] = 0.5
    learning_rate: Annotated[float, "peak"] = 6e-4
    final_learning_rate: Annotated[float, "fraction of the peak that the cosine ends at"] = 0.03
    warmup: Annotated[int, "steps"] = 250
    weight_decay: Annotated[float, "of matrices"] = 0.03
    clip_norm: Annotated[float, "largest norm of the gradient"] = 1.0
    material: Annotated[float, "weight of naming each patch's material, by a head that is not kept"] = 0.2
    places: Annotated[float, "weight of saying where each patch is, by another such head"] = 0.0
    matches: Annotated[float, "weight of telling attention across views which patches show the same"] = 0.0
    rendering: Annotated[float, "weight of what the rooms sound like, where they are heard; 0: not rendered"] = 0.1
    bf16: Annotated[bool, "autocast; pays on GPUs and on CPUs with AMX"] = False
    checkpoint_gradients: Annotated[bool, "recompute activations: less memory, more time"] = False
    chunk: Annotated[int, "pictures that the dense heads work on at a time; 0: all"] = 0
    workers: Annotated[int, "processes that make rooms"] = 1
    half: Annotated[bool, "write the weights in float16, as those that ship are"] = False
    seed: int = 0
    log_every: Annotated[int, "steps"] = 25
    save_every: Annotated[int, "steps"] = 200


def train(options: TrainingOptions) -> Path:
    """Trains until `options.steps`; returns the weights file."""
    process = distributed.start()
    torch.manual_seed(options.seed + process.rank)
    model = _begin(options).to(process.device)
    freeze(model, options.stage)
    if options.checkpoint_gradients:
        model.checkpoint_gradients()
    model.chunk_frames(options.chunk or None)
    objective = Objective(
        options.stage,
        metric=model.config.metric,
        patch_size=model.config.patch_size,
        material=options.material,
        places=options.places,
        rendering=options.rendering,
    )
    trainee: Trainee | CamerasTrainee
    if options.stage is Stage.cameras:
        trainee = CamerasTrainee(model, options.bf16)
    else:
        trainee = Trainee(model, objective, options.bf16, options.mapped, options.matches)
    trainee.to(process.device)
    optimizers = _optimizers(trainee, options)
    ema = Ema(model)
    parts: dict[str, checkpoint.Stateful] = {"trainee": trainee, "ema": ema, **optimizers}
    state_file, weights_file = options.out / "state.pt", options.out / "acoustic_maps.safetensors"
    first = checkpoint.resume(state_file, parts)
    # What a step has no part for: the projection of sound without sound, heads without a truth.
    replica = process.wrap(trainee, in_turns=True)
    batches = _batches(options, process, first, model.config.patch_size)

    with TrainingLog(options.out, options.steps, first, enabled=process.is_main) as log:
        for step in range(first, options.steps):
            rate = warmup_cosine(step, warmup=options.warmup, total=options.steps, floor=options.final_learning_rate)
            for optimizer in optimizers.values():
                for group in optimizer.param_groups:
                    group["lr"] = options.learning_rate * rate

            batch = {name: value.to(process.device) for name, value in next(batches).items()}
            terms = replica(batch)
            loss = torch.stack([*terms.values()]).sum()

            trainee.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainee.parameters(), options.clip_norm)
            for optimizer in optimizers.values():
                optimizer.step()
            ema.update(model)

            done = step + 1
            if done % options.log_every == 0:
                log.step(done, {"loss": loss.item()} | {name: term.item() for name, term in terms.items()})
            if process.is_main and (done % options.save_every == 0 or done == options.steps):
                state = _rounded(ema.state) if options.half else ema.state
                save_weights(weights_file, state, model.config, steps=done, stage=options.stage)
                checkpoint.save(state_file, parts, done)
    distributed.stop()
    return weights_file


def _rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """In float16: half the file, and far less is lost by it than training leaves open."""
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def _begin(options: TrainingOptions) -> VGGTAudio:
    """The model before the first step. Raises ExportError when the weights that it is to start from do not fit."""
    if options.weights is not None and options.vggt is not None:
        raise ExportError("training starts from one set of weights: --weights or --vggt")
    weights = None if options.weights is None else load_weights(options.weights)
    config = PRESETS[options.preset] if weights is None else restore_config(VGGTAudioConfig, weights.config)
    if options.stage is not Stage.acoustic:
        config = replace(config, metric=True)  # the geometry that it learns is in metres
    if options.stage is Stage.cameras:
        config = replace(config, match_depth=config.match_depth or PRESETS[options.preset].match_depth)
    if options.vggt is not None:
        model, report = VGGTAudio.from_pretrained_vggt(options.vggt, config, freeze_visual=False)
        logger.info("parameters of %s: %s", options.vggt, report)
        return model
    model = VGGTAudio(config)
    if weights is None:
        encoder = model.aggregator.patch_embed
        if isinstance(encoder, EfficientNetEmbed):
            load_imagenet(encoder)
        elif isinstance(encoder, VisionTransformer):
            warm_start(encoder)
        return model
    try:
        state = weights.state
        if options.stage is Stage.cameras:
            # Weights of the other stages may be from before there were matches.
            begun = model.state_dict().items()
            state = {name: value for name, value in begun if name.startswith("match_head.")} | state
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ExportError(f"{options.weights} does not fit its own configuration: {error}") from error
    return model


def _optimizers(trainee: Trainee | CamerasTrainee, options: TrainingOptions) -> dict[str, torch.optim.Optimizer]:
    """By name. Matrices decay; norms, biases, gains and frozen parameters do not."""
    trunk = trainee.model.aggregator
    inner = (
        {id(p) for name, p in trunk.named_parameters() if "blocks." in name and p.ndim == 2} if options.muon else set()
    )
    trained = [p for p in trainee.parameters() if p.requires_grad]
    rest = [p for p in trained if id(p) not in inner]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "optimizer": torch.optim.AdamW(groups, lr=options.learning_rate, betas=(0.9, 0.98))
    }
    if matrices := [p for p in trained if id(p) in inner]:
        optimizers["muon"] = torch.optim.Muon(
            matrices, lr=options.learning_rate, weight_decay=options.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
    return optimizers


def _batches(
    options: TrainingOptions, process: distributed.Process, first: int, patch: int
) -> Iterator[dict[str, Tensor]]:
    """Batches from number `first` on; each process has its own."""
    seed = options.seed * process.world_size + process.rank
    heard = 0.0 if options.stage in (Stage.visual, Stage.cameras) else options.heard
    generated = _generated(options, seed, first, heard, patch)
    filmed = _filmed(options, seed, first, heard, patch)
    if generated is not None and filmed is not None:
        batches: Batches = Mixture(generated, filmed, options.filmed)
    elif (only := generated or filmed) is not None:
        batches = only
    else:
        raise ExportError("there is nothing to train on: neither --textures nor --captures")
    for batch in DataLoader(batches, batch_size=None, num_workers=options.workers):
        yield {name: torch.as_tensor(value) for name, value in batch.items()}


def _generated(options: TrainingOptions, seed: int, first: int, heard: float, patch: int) -> Batches | None:
    if options.textures is None:
        return None
    width, height = options.width, _height(options.width, patch)
    generator = Generator("train", load_textures(options.textures, "train"))
    if options.rooms:
        store = Store(generator, options.store.expanduser(), STORED_VIEWS, STORED_WIDTH * 3 // 4, STORED_WIDTH)
        return StoredScenes(store, options.rooms, seed, first, _replayed(options, patch), heard)
    shapes = [Shape(max(1, options.pictures // views), views, height, width) for views in (4, 2, 4, 7, 4)]
    shapes.append(Shape(max(1, options.pictures // 3), 3, width, height))
    return GeneratedScenes(generator, seed, first, shapes, heard)


def _replayed(options: TrainingOptions, patch: int) -> list[Shape]:
    """Two steps of half the width to one of the whole, of a quarter as many pictures; now and then upright ones."""
    width, height = options.width, _height(options.width, 2 * patch)
    if options.stage is Stage.cameras:
        return [Shape(max(1, options.pictures // views), views, height, width) for views in (6, 3, 4, 2)]
    upright = width * 3 // 5 // (2 * patch) * 2 * patch
    shapes = [Shape(max(1, options.pictures // views), views, height // 2, width // 2) for views in (3, 2, 4, 2)]
    shapes.append(Shape(max(1, options.pictures // 6), 6, height // 2, width // 2))
    whole = [Shape(max(1, options.pictures // 4 // views), views, height, width) for views in (6, 3, 2, 1)]
    whole.append(Shape(max(1, options.pictures // 8), 2, height, upright))
    return [shape for k in range(10) for shape in (shapes[2 * k % 5], shapes[(2 * k + 1) % 5], whole[k % 5])]


def _filmed(options: TrainingOptions, seed: int, first: int, heard: float, patch: int) -> FilmedRooms | None:
    """Of up to eight pictures, which see more of a room than fewer do."""
    if options.captures is None:
        return None
    captures = [read_capture(path, SAMPLE_RATE) for path in find_captures(options.captures)]
    chunks = Captures(captures, 8, _height(options.width, patch), options.width, RECORDED_S, LEAD_S)
    return FilmedRooms(chunks, seed, first, heard)


def _height(width: int, patch: int) -> int:
    return width * 3 // 4 // patch * patch
