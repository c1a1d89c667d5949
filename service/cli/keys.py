"""`auricle keys`: adds, lists and removes API keys. A running service reads the file again by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.web.keys import KeyFile

app = typer.Typer(
    no_args_is_help=True,
    help="API keys, which clients send as `Authorization: Bearer KEY`.\n\n"
    "The file holds names and hashes, never a key. To rotate one, add another of its name, hand it out, and then "
    "remove the old ones with `remove NAME --keep-newest`.",
)

File = Annotated[Path, typer.Option("--file", envvar="AURICLE_API_KEYS_FILE", help="File of the keys.")]
DEFAULT = Path("api-keys.json")


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose it is: what limits and metrics go by.")],
    rate_limit: Annotated[float | None, typer.Option(help="Requests a minute.", min=0.01, show_default=False)] = None,
    max_concurrent_requests: Annotated[
        int | None, typer.Option(help="Requests open at once.", min=1, show_default=False)
    ] = None,
    file: File = DEFAULT,
) -> None:
    """Make a key and print it, this once.

    auricle keys add anna --rate-limit 600
    """
    from service.cli.environment import console, fail

    try:
        keys, secret = _read(file).with_new(name, rate_limit, max_concurrent_requests)
    except ValueError:
        fail(f"{name!r} is no name of a key: letters, digits, dots, dashes and underscores, at most 64")
    keys.write(file)
    console.print(f"Added to {file}. Only its hash is kept: the key is shown this once.", soft_wrap=True)
    typer.echo(secret)


@app.command("list")
def show(file: File = DEFAULT) -> None:
    """Show names, dates and limits."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "created", "requests a minute", "at once", "hash")
    for key in _read(file).keys:
        limits = (key.rate_limit, key.max_concurrent_requests)
        shown = ("" if limit is None else f"{limit:g}" for limit in limits)
        table.add_row(key.name, key.created.isoformat(), *shown, f"{key.sha256[:8]}...")
    Console().print(table)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Its keys stop working within a second.")],
    keep_newest: Annotated[bool, typer.Option("--keep-newest", help="Remove all but the last that was added.")] = False,
    file: File = DEFAULT,
) -> None:
    """Remove the keys of a name.

    auricle keys remove anna --keep-newest
    """
    from service.cli.environment import console, fail

    before = _read(file)
    after = before.without(name, keep_newest=keep_newest)
    if not any(key.name == name for key in before.keys):
        fail(f"{file} has no key named {name!r}")
    after.write(file)
    console.print(f"{len(before.keys) - len(after.keys)} removed from {file}", soft_wrap=True)


def _read(file: Path) -> "KeyFile":
    from service.cli.environment import fail
    from service.web.keys import KeyFile

    try:
        return KeyFile.read(file)
    except FileNotFoundError:
        return KeyFile()
    except (OSError, ValueError) as exc:
        fail(str(exc))
