"""``auricle corpus``: rebuild the training data from public packages."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.corpus.build import build
from export.corpus.manifest import read_manifest
from export.corpus.packages import PackageError, unpacked

DEFAULT_OUT = Path("~/.cache/auricle/corpus")
DEFAULT_CACHE = Path("~/.cache/auricle/packages")
CONSOLE = Console(stderr=True)


def corpus(
    out: Annotated[Path, typer.Option(help="The folder to fill: {train,dev,test}/KIND/PACKAGE/ID.flac.")] = DEFAULT_OUT,
    cache: Annotated[Path, typer.Option(help="Where unpacked packages are kept.")] = DEFAULT_CACHE,
    package: Annotated[list[str] | None, typer.Option(help="Only this package (repeat for several).")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only this split: train, dev or test.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that decode.")] = 2,
) -> None:
    """Rebuild the recordings that the models learn and are measured from, out of public Debian packages.

    Downloads each package by name with apt-get (nothing is installed), opens it, and writes 16 kHz mono FLAC with
    metadata.jsonl (split, words, language, speaker, licence of each). Run it again to go on after an interruption.
    About 3 GB of downloads, 5 GB unpacked; the corpus is 1.1 GB. Needs apt-get and dpkg-deb.
    """
    entries = [
        entry
        for entry in read_manifest()
        if (not package or entry.package in package) and (not split or entry.split in split)
    ]
    if not entries:
        raise typer.BadParameter("the manifest lists no such recordings")
    versions = {entry.package: entry.version for entry in entries}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=CONSOLE) as progress:
        folders: dict[str, Path] = {}
        for name in progress.track(versions, description="packages"):
            try:
                folders[name] = unpacked(name, versions[name], cache.expanduser())
            except PackageError as error:
                CONSOLE.print(f"[red]left out[/] {error}")
        entries = [entry for entry in entries if entry.package in folders]
        for _ in progress.track(
            build(entries, folders, out.expanduser(), workers), len(entries), description="recordings"
        ):
            pass
    if len(folders) < len(versions):
        raise typer.Exit(1)
