"""The table of retrieval: `python -m export.vatt.evaluate --data CORPUS`, on recordings that training never saw."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from export.corpus.command import DEFAULT_OUT
from export.datasets import read_crop
from export.errors import ExportError
from export.recogniser.assets import AssetError
from export.recogniser.recogniser import MAX_SECONDS, SAMPLE_RATE, Recogniser
from export.vatt.baselines import keyword_scores, mel_statistics, nearness
from export.vatt.embed import embed_recordings, embed_texts, load_model
from export.vatt.held_out import Pool, pools, spread
from export.vatt.model import Vatt
from export.vatt.pairs import Pair, read_pairs
from export.vatt.retrieval import CUTS, Retrieval, agreement, chance_agreement
from export.vatt.tokenizer import load_tokenizer
from export.weights import SHIPPED

OURS, CHANCE, MEL = "ours", "chance", "nearest mel statistics"
KEYWORDS, TRANSCRIPTS = "recogniser, keywords", "recogniser, text tower"
FINE = "ours, fine space"

Array = NDArray[np.floating]
Embed = Callable[[Sequence[str]], Array]


@dataclass(frozen=True)
class Row:
    """One system on one pool; agreement is of neighbours among its recordings."""

    pool: str
    system: str
    text_to_audio: Retrieval | None = None
    audio_to_text: Retrieval | None = None
    agreement: float | None = None


def evaluate(
    data: Annotated[Path, typer.Option(help="A corpus folder, or JSON lines of recordings and texts.")] = DEFAULT_OUT,
    weights: Annotated[Path, typer.Option(help="Of `auricle train embeddings`.")] = SHIPPED / "embeddings.safetensors",
    clips: Annotated[int, typer.Option(min=2, help="Recordings of each pool, at most.")] = 300,
    training: Annotated[int, typer.Option(min=1, help="Training recordings that mel statistics look among.")] = 2000,
    recogniser: Annotated[bool, typer.Option(help="Compare with Whisper tiny.en (150 MB are fetched once).")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the numbers here.")] = None,
) -> None:
    """Print how well text finds sound, sound finds text, and sound finds sound, beside what needs no model of ours."""
    console = Console()
    try:
        model = load_model(weights)
        test, train = (read_pairs(data.expanduser(), split) for split in ("test", "train"))
        listener = Recogniser() if recogniser else None
    except (ExportError, AssetError, FileNotFoundError, ValueError) as error:
        console.print(f"[red]error:[/] {error}", highlight=False)
        raise typer.Exit(1) from error
    tokenizer = load_tokenizer()
    seen = spread(train, training)
    known = Known(mel_statistics(seen), [pair.texts[0] for pair in seen])
    rows: list[Row] = []
    for pool in track(pools(test, clips), "pools", console=Console(stderr=True), transient=True):
        rows += measure(pool, model, lambda texts: embed_texts(model, tokenizer, texts), known, listener)
    for name in dict.fromkeys(row.pool for row in rows):
        console.print(pool_table([row for row in rows if row.pool == name]))
    if json_file is not None:
        json_file.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Known:
    """Training recordings: their mel statistics [N, F] and what is true of them."""

    statistics: Array
    texts: list[str]


def measure(pool: Pool, model: Vatt, embed: Embed, known: Known, listener: Recogniser | None) -> list[Row]:
    """Every system on one pool."""
    queries = embed(pool.texts)
    heard = embed_recordings(model, [pair.path for pair in pool.pairs])
    statistics = mel_statistics(pool.pairs)
    nearest = nearness(statistics, known.statistics).argmax(1)
    borrowed = embed([known.texts[number] for number in nearest])
    near = nearness(statistics, statistics)
    rows = [
        _row(pool, OURS, queries @ heard.coarse.T, agreement(heard.coarse @ heard.coarse.T, pool.classes)),
        Row(pool.name, FINE, agreement=agreement(heard.fine @ heard.fine.T, pool.classes)),
        _row(pool, MEL, queries @ borrowed.T, agreement(near, pool.classes)),
    ]
    if listener is not None:
        said = [transcribe(listener, pair) for pair in pool.pairs]
        rows.append(_row(pool, KEYWORDS, keyword_scores(pool.texts, said)))
        rows.append(_row(pool, TRANSCRIPTS, queries @ embed(said).T))
    there, back = Retrieval.chance(pool.truth), Retrieval.chance(pool.truth.T)
    return [*rows, Row(pool.name, CHANCE, there, back, chance_agreement(pool.classes))]


def _row(pool: Pool, system: str, scores: Array, neighbours: float | None = None) -> Row:
    """scores [texts, recordings]"""
    there, back = Retrieval.of(scores, pool.truth), Retrieval.of(scores.T, pool.truth.T)
    return Row(pool.name, system, there, back, neighbours)


def transcribe(listener: Recogniser, pair: Pair) -> str:
    """What the recogniser hears in the first 30 s."""
    waveform = read_crop(pair.path, MAX_SECONDS * SAMPLE_RATE, SAMPLE_RATE, 0.0)
    return listener.transcribe([waveform])[0]


def pool_table(rows: Sequence[Row]) -> Table:
    """One pool; recall and agreement in per cent, medians of ranks."""
    title = f"{rows[0].pool}: text finds audio, audio finds text, audio finds its class"
    table = Table("", title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for _ in range(2):
        for heading in (*(f"R@{cut}" for cut in CUTS), "median"):
            table.add_column(heading, justify="right")
    table.add_column("neighbour", justify="right")
    for row in rows:
        cells = [*_cells(row.text_to_audio), *_cells(row.audio_to_text)]
        table.add_row(row.system, *cells, "-" if row.agreement is None else f"{100 * row.agreement:.1f}")
    return table


def _cells(retrieval: Retrieval | None) -> list[str]:
    if retrieval is None:
        return ["-"] * (len(CUTS) + 1)
    return [*(f"{100 * share:.1f}" for share in retrieval.recall), f"{retrieval.median_rank:g}"]


if __name__ == "__main__":
    typer.run(evaluate)
