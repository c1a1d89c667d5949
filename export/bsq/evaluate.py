"""The quality table: our round trip, its parts and real codecs, on test recordings that training never saw."""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, astuple
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.bsq.clips import speech_clips, transcript_clips
from export.bsq.codec import Codec
from export.bsq.model import AudioBSQ, TokenizerConfig
from export.bsq.quality import OURS, Row, Scores, examine, measure, systems
from export.bsq.statistics import CodeUse
from export.corpus.command import DEFAULT_OUT
from export.errors import ExportError
from export.mel import MelConfig
from export.vocoder.model import Vocoder, VocoderConfig
from export.weights import SHIPPED, load_weights, restore_config

HEADINGS = ("mel\nRMSE dB", "STOI", "ESTOI", "PESQ\nWB", "PESQ\nNB", "MR\nSTFT")
FORMATS = ("{:.2f}", "{:.3f}", "{:.3f}", "{:.2f}", "{:.2f}", "{:.2f}")


def evaluate(
    data: Annotated[Path, typer.Option(help="A folder that `auricle corpus` filled (`--split test`).")] = DEFAULT_OUT,
    clips: Annotated[int, typer.Option(min=1, help="Clips of wideband speech to score.")] = 120,
    transcripts: Annotated[int, typer.Option(min=0, help="English clips to recognise; 0: no recogniser.")] = 48,
    tokenizer: Annotated[Path, typer.Option(help="Its weights.")] = SHIPPED / "tokenizer.safetensors",
    vocoder: Annotated[Path, typer.Option(help="Its weights.")] = SHIPPED / "vocoder.safetensors",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Print the quality of the tokenizer and the vocoder on recordings that training never saw.

    codec2 and opus are compared when their tools are installed (apt-get install codec2 opus-tools). The recogniser's
    weights are downloaded once (70 MB).
    """
    torch.set_num_threads(1)  # clips are short: two processes that score use the other cores better
    console = Console()
    try:
        codec, digests = load_codec(tokenizer, vocoder)
        speech = speech_clips(data.expanduser(), clips)
        spoken = transcript_clips(data.expanduser(), transcripts)
    except (ExportError, FileNotFoundError) as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    columns = (SpinnerColumn(), TextColumn("systems"), MofNCompleteColumn(), TimeElapsedColumn())
    processes = ProcessPoolExecutor(2, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))
    with processes as pool, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        rows = list(progress.track(measure(codec, speech, spoken, pool), total=len(systems(codec))))
    use = examine(codec, speech)
    console.print(quality_table(rows, f"{len(speech)} clips of test speech ({len(spoken)} others for WER)"))
    console.print(package_table(next(row for row in rows if row.system == OURS)))
    console.print(facts_table("Use of the code", use))
    if json_file is not None:
        report = {
            "digests": digests,
            "clips": len(speech),
            "transcripts": len(spoken),
            "rows": [asdict(row) for row in rows],
            "code_use": asdict(use),
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def load_codec(tokenizer: Path, vocoder: Path) -> tuple[Codec, dict[str, str]]:
    """The codec of two files of weights, and their digests. Raises ExportError."""
    first, second = load_weights(tokenizer), load_weights(vocoder)
    bsq = AudioBSQ(restore_config(TokenizerConfig, first.config))
    bsq.load_state_dict(first.state)
    vocos = Vocoder(restore_config(VocoderConfig, second.config))
    vocos.load_state_dict(second.state)
    return Codec(bsq, vocos, MelConfig()), {"tokenizer": first.digest, "vocoder": second.digest}


def quality_table(rows: Sequence[Row], title: str) -> Table:
    """The rows as the model card shows them."""
    table = Table("system", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("bit/s", *HEADINGS, "WER\n%"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.system,
            "-" if row.bits_per_second is None else f"{row.bits_per_second:.0f}",
            *cells(row.scores),
            "-" if row.word_error_rate is None else f"{100 * row.word_error_rate:.1f}",
        )
    return table


def package_table(row: Row) -> Table:
    """The scores of one system on each source of recordings."""
    table = Table("package", title=f"{row.system}, by source", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in HEADINGS:
        table.add_column(column, justify="right")
    for package, scores in row.by_package.items():
        table.add_row(package, *cells(scores))
    return table


def cells(scores: Scores | None) -> list[str]:
    """The scores as text; dashes where a system has none."""
    if scores is None:
        return ["-"] * len(FORMATS)
    return [form.format(number) for form, number in zip(FORMATS, astuple(scores), strict=True)]


def facts_table(title: str, facts: CodeUse) -> Table:
    """Names and numbers."""
    table = Table("measure", title=title, box=SIMPLE_HEAD)
    table.add_column("value", justify="right")
    for name, value in asdict(facts).items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4g}")
    return table


if __name__ == "__main__":
    typer.run(evaluate)
