"""One model from its weights to a proven file in a repository. A proof that fails leaves everything as it was."""

import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

import torch

from export import to_onnx, to_torchscript
from export.contract import (
    Arrays,
    ModelConfig,
    check_answer,
    check_parameters,
    parameters,
    parse_config,
    warmup_inputs,
    with_parameters,
)
from export.entries import Case, Entry, Measure, Named, Precision, ServedGraph
from export.errors import ExportError
from export.weights import Weights

REVIEWED = Path(__file__).resolve().parents[1] / "model_repository"
VERSION = "1"
BUILT_BY = ".built-by"  # behind the name of a graph's file: which code it is of
TRACED_AT = (2, 3)  # batch, steps

FormatName = Literal["onnx", "torchscript"]
Report = Callable[[str], None]


class Format(Protocol):
    """What `to_onnx` and `to_torchscript` have in common. Files of large models may have others beside them."""

    FILENAME: str
    CONFIG: str

    def build(self, graph: ServedGraph, example: Named, about: dict[str, str], path: Path) -> None: ...

    def check(self, path: Path, config: ModelConfig) -> None: ...

    def Runner(self, path: Path, config: ModelConfig) -> Callable[[Arrays], Arrays]: ...  # noqa: N802 -- a class


FORMATS: dict[FormatName, Format] = {"onnx": to_onnx, "torchscript": to_torchscript}


def publish(
    entry: Entry,
    weights: Weights,
    out: Path,
    *,
    shipped: bool,
    format_name: FormatName = "onnx",
    precision: Precision = "fp32",
    report: Report = lambda step: None,
) -> list[Measure]:
    """Write `<out>/<model>/` and return what was proven. Raises ExportError, having written nothing.

    The reviewed configuration is copied as it is for the weights that ship, and must describe them; for others the
    values that the weights own are replaced in the copy.
    """
    report("building")
    served = FORMATS[format_name]
    reference = entry.build(weights)
    owned = reference.constants | {"preset": entry.preset_of(weights), "weights_digest": weights.digest}
    configs = _configs(entry, owned, shipped=shipped)
    if not shipped and out.resolve() == REVIEWED:
        raise ExportError(f"{REVIEWED} is kept for the weights that ship: name another folder with --out")
    config = parse_config(configs[served.CONFIG])

    folder = out / entry.model
    with _staged(folder) as staging:
        report("tracing")
        graph = reference if precision == "fp32" else entry.build(weights).half()
        path = staging / served.FILENAME
        served.build(graph, graph.example(*TRACED_AT, seed=0), owned | {"precision": precision}, path)

        report("proving")
        served.check(path, config)
        measures = prove(reference, config, served.Runner(path, config), precision)

        report("writing")
        (staging / (served.FILENAME + BUILT_BY)).write_text(code_digest(entry), encoding="utf-8")
        files = sorted(staging.iterdir(), reverse=True)  # what a file refers to before the file
        _write(staging, reference.files | configs, folder)
        (folder / VERSION).mkdir(exist_ok=True)
        for file in files:
            file.replace(folder / VERSION / file.name)
    return measures


def published(entry: Entry, out: Path, served: Format, weights: Weights) -> bool:
    """Whether `<out>/<model>/` has been written from `weights` before, by this very code."""
    folder = out / entry.model
    try:
        text = (folder / served.CONFIG).read_text(encoding="utf-8")
        built_by = (folder / VERSION / (served.FILENAME + BUILT_BY)).read_text(encoding="utf-8")
    except OSError:
        return False
    written = parameters(parse_config(text)).get("weights_digest")
    return (folder / VERSION / served.FILENAME).exists() and (written, built_by) == (weights.digest, code_digest(entry))


def code_digest(entry: Entry) -> str:
    """Of all that a graph follows from but its weights: the system's package, what all systems share, and PyTorch."""
    system = Path(inspect.getfile(entry.module)).parent
    sources = sorted({*system.rglob("*.py"), *Path(__file__).parent.glob("*.py")})
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sources:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@torch.no_grad()
def prove(
    reference: ServedGraph, config: ModelConfig, run: Callable[[Arrays], Arrays], precision: Precision
) -> list[Measure]:
    """Run the warm-up; compare with PyTorch at batch and time sizes other than the traced ones. Raises ExportError."""
    for sample in warmup_inputs(config):
        check_answer(config, run(sample))
    longest = reference.max_steps
    cases = []
    for seed, (batch, steps) in enumerate([(1, 1), (3, 7), (4, longest // 3), (1, longest)], start=1):
        inputs = reference.example(batch, steps, seed)
        answer = run({name: tensor.numpy() for name, tensor in inputs.items()})
        check_answer(config, answer)
        cases.append(Case(inputs, {name: torch.from_numpy(array) for name, array in answer.items()}))
    measures = reference.measure(cases, precision)
    broken = [str(measure) for measure in measures if not measure.holds]
    if broken:
        raise ExportError(f"{config.name} is not what PyTorch computes: {'; '.join(broken)}")
    return measures


def reviewed_texts(model: str) -> dict[str, str]:
    """The reviewed configurations of a model, by their path in its folder. Raises ExportError when one is missing."""
    folder = REVIEWED / model
    files = [path for path in (folder / "config.pbtxt", *sorted(folder.glob("configs/*.pbtxt"))) if path.exists()]
    texts = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in files}
    missing = {served.CONFIG for served in FORMATS.values()} - texts.keys()
    if missing:
        raise ExportError(f"no contract to export against: {folder} lacks {', '.join(sorted(missing))}")
    return texts


def _configs(entry: Entry, owned: dict[str, str], *, shipped: bool) -> dict[str, str]:
    """The text of the model's configurations, by their path in its folder."""
    texts = reviewed_texts(entry.model) if entry.texts is None else dict(entry.texts)
    if not shipped:
        stated = parameters(parse_config(texts["config.pbtxt"]))
        owned = owned | ({"licence": "unknown"} if "licence" in stated else {})
        return {name: with_parameters(text, owned) for name, text in texts.items()}
    for text in texts.values():
        check_parameters(parse_config(text), owned)
    return texts


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder on the same file system, so that a rename moves what is in it. Leaves no empty `folder` behind."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".staging-", dir=folder) as staging:
            yield Path(staging)
    finally:
        with suppress(OSError):
            folder.rmdir()


def _write(staging: Path, texts: dict[str, str], folder: Path) -> None:
    for name, text in texts.items():
        target = folder / name
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        partial = staging / target.name
        partial.write_text(text, encoding="utf-8")
        target.parent.mkdir(exist_ok=True)
        partial.replace(target)
