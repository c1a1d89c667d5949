"""`auricle export`: which models, from which weights, into which repository."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from export.entries import Entry, discover
from export.errors import ExportError
from export.publish import FORMATS, REVIEWED, publish, published
from export.weights import SHIPPED, Weights, load_weights

CONSOLE = Console(stderr=True)


class Format(StrEnum):
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"


class Precision(StrEnum):
    FP32 = "fp32"
    FP16 = "fp16"


def export(
    models: Annotated[list[str] | None, typer.Argument(help="Models of the repository. Default: all.")] = None,
    format_name: Annotated[Format, typer.Option("--format", help="What the server loads.")] = Format.ONNX,
    precision: Annotated[
        Precision, typer.Option(help="Of weights and activations; fp16 is for GPUs.")
    ] = Precision.FP32,
    out: Annotated[
        Path, typer.Option(help="The model repository to write into.", show_default="model_repository/")
    ] = REVIEWED,
    preset: Annotated[
        str | None, typer.Option(help="A configuration; its weights are random unless they ship.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Weights of your own, as `auricle train` writes.")
    ] = None,
    from_hf: Annotated[
        str | None, typer.Option(help="A CLAP checkpoint for the embedders: a hub id (owner/name) or a folder.")
    ] = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Leave out what is there already, of the same weights and code.")
    ] = False,
) -> None:
    """Write models into a repository, each proven against PyTorch and its config.pbtxt first, or not written.

    Models are named by themselves or by their weights. Without --preset, --checkpoint and --from-hf it exports the
    weights that ship. TorchScript lands beside ONNX and is served with
    `--model-config-name=torchscript`. Exit code 1: a proof failed, and nothing of that model was written.
    """
    if sum(bool(source) for source in (preset, checkpoint, from_hf)) > 1:
        raise typer.BadParameter("weights come from one place: --preset, --checkpoint or --from-hf")
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        if from_hf:
            chosen = _of_hub(models or [], from_hf)
        else:
            chosen = _choose(models or [], preset, load_weights(checkpoint) if checkpoint else None)
        if missing:
            chosen = [job for job in chosen if not published(job[0], out, FORMATS[format_name.value], job[1])]
        with Progress(*columns, console=CONSOLE, transient=True) as progress:
            task = progress.add_task("", total=len(chosen))
            for entry, weights, shipped in chosen:
                measures = publish(
                    entry,
                    weights,
                    out,
                    shipped=shipped,
                    format_name=format_name.value,
                    precision=precision.value,
                    report=partial(_describe, progress, task, entry.model),
                )
                progress.advance(task)
                proof = ", ".join(str(measure) for measure in measures)
                CONSOLE.print(f"[green]proven[/] {entry.model}: {proof}", highlight=False)
    except ExportError as error:
        CONSOLE.print(f"[red]error:[/] {error}", highlight=False)
        raise typer.Exit(1) from error


def _describe(progress: Progress, task: TaskID, model: str, step: str) -> None:
    progress.update(task, description=f"{model}: {step}")


def _choose(names: list[str], preset: str | None, own: Weights | None) -> list[tuple[Entry, Weights, bool]]:
    """The named entries, else all that the preset or the user's own weights fit; and whether the weights ship."""
    entries = _named(names, list(discover().values()))
    if own is not None:
        fitting = entries if names else [entry for entry in entries if entry.config_type.__name__ == own.kind]
        return [(entry, own, False) for entry in fitting]
    if preset is None:
        ready = entries if names else [entry for entry in entries if _shipped_path(entry).exists()]
        return [(entry, _shipped(entry), True) for entry in ready]
    fitting = [entry for entry in entries if preset in entry.presets]
    if len(fitting) < max(1, len(names)):
        presets = "; ".join(f"{entry.model} has {', '.join(entry.presets)}" for entry in entries)
        raise typer.BadParameter(presets, param_hint="--preset")
    return [_of_preset(entry, preset) for entry in fitting]


def _of_hub(names: list[str], source: str) -> list[tuple[Entry, Weights, bool]]:
    from export.vatt.clap.served import clap_entries

    entries, weights = clap_entries(source)
    return [(entry, weights, False) for entry in _named(names, entries)]


def _named(names: list[str], entries: list[Entry]) -> list[Entry]:
    """The entries of these models, or of these weights, each once; all where none is named."""
    known = sorted({name for entry in entries for name in (entry.model, entry.weights)})
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(known)}", param_hint="MODELS")
    return [entry for entry in entries if not names or {entry.model, entry.weights} & {*names}]


def _of_preset(entry: Entry, preset: str) -> tuple[Entry, Weights, bool]:
    if _shipped_path(entry).exists() and entry.preset_of(weights := _shipped(entry)) == preset:
        return entry, weights, True
    CONSOLE.print(f"[yellow]untrained[/] {entry.model}: no weights of {preset} ship, these are random", highlight=False)
    return entry, entry.untrained(entry.presets[preset]), False


def _shipped(entry: Entry) -> Weights:
    return load_weights(_shipped_path(entry))


def _shipped_path(entry: Entry) -> Path:
    return SHIPPED / f"{entry.weights}.safetensors"
