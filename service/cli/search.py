"""`auricle index` and `search`: the service's own routes, asked in this process or at the address of a running one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from service.app import create_app
from service.cli.environment import complain, console, ensure_models, fail
from service.cli.files import AUDIO, Report, progress
from service.repository import RepositoryError
from service.settings import Settings

TEXT = frozenset((".txt", ".md"))
_TOGETHER = 4  # files, so that their windows share batches
_READ_BYTES = 1 << 18
_TIMEOUT = httpx.Timeout(600, connect=10)  # a long recording takes its time


class Refused(Exception):
    """An answer that is a problem: its own words."""


@dataclass(frozen=True)
class Address:
    """A running service and the key that it may ask for; no url: the work is done in this process."""

    url: str | None
    api_key: str | None


def index(settings: Settings, address: Address, folder: Path, collection: str, force: bool) -> int:
    """Files to items of the collection, by their names below the folder; returns the exit code."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO | TEXT and path.is_file())
    if not files:
        complain(f"no audio and no text files in {folder}")
        raise typer.Exit(2)
    report = Report()

    async def run(client: httpx.AsyncClient) -> None:
        await _json(client, "PUT", f"/v1/collections/{quote(collection, safe='')}", json={})
        queue = iter(files)
        with progress() as bars:
            bar = bars.add_task("Indexing", total=len(files))

            async def work() -> None:
                for path in queue:
                    try:
                        written = await _put(client, collection, folder, path, force)
                        report.done, report.skipped = report.done + written, report.skipped + (not written)
                    except (Refused, httpx.HTTPError, OSError) as exc:
                        report.failed[path] = str(exc) or type(exc).__name__
                    bars.advance(bar)

            async with asyncio.TaskGroup() as group:
                for _ in range(min(_TOGETHER, len(files))):
                    group.create_task(work())

    _run(settings, address, run)
    for path, reason in report.failed.items():
        complain(f"{path}: {reason}", what="failed")
    console.print(
        f"{report.done} indexed, {report.skipped} already there, {len(report.failed)} failed",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if report.failed else 0


def search(
    settings: Settings, address: Address, query: str, collection: str | None, k: int, matching: str | None
) -> int:
    """Prints the items that are nearest; returns the exit code."""

    request: dict[str, Any] = {"json": {"text": query, "k": k, "filter": _condition(matching)}}
    sound = Path(query)
    if sound.suffix.lower() in AUDIO and sound.is_file():
        options = {"k": k} | ({"filter": matching} if matching else {})
        request = {"content": sound.read_bytes(), "headers": _type_of(sound), "params": options}

    async def run(client: httpx.AsyncClient) -> None:
        name = collection or await _only_collection(client)
        answer = await _json(client, "POST", f"/v1/collections/{quote(name, safe='')}/search", **request)
        Console().print(_table(answer["results"]))

    _run(settings, address, run)
    return 0


def _run(settings: Settings, address: Address, job: Callable[[httpx.AsyncClient], Coroutine[Any, Any, None]]) -> None:
    """Exits with 1 where the job is refused as a whole."""
    if not address.url:
        ensure_models(settings)

    async def run() -> None:
        async with _service(settings, address) as client:
            await job(client)

    try:
        asyncio.run(run())
    except (Refused, RepositoryError) as exc:
        fail(str(exc))
    except httpx.HTTPError as exc:
        fail(f"{address.url} does not answer: {exc or type(exc).__name__}")


@asynccontextmanager
async def _service(settings: Settings, address: Address) -> AsyncIterator[httpx.AsyncClient]:
    if address.url:
        headers = {"Authorization": f"Bearer {address.api_key}"} if address.api_key else {}
        async with httpx.AsyncClient(base_url=address.url, headers=headers, timeout=_TIMEOUT) as client:
            yield client
        return
    app = create_app(settings.model_copy(update={"api_keys_file": None}))  # nobody else reaches it
    async with app.router.lifespan_context(app):
        await app.state.runtime.started
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            yield client


async def _put(client: httpx.AsyncClient, collection: str, folder: Path, path: Path, force: bool) -> bool:
    """Whether there was something to write: not where the item is of this very file."""
    address = f"/v1/collections/{quote(collection, safe='')}/items/{quote(path.relative_to(folder).as_posix())}"
    metadata = _stamp(path)
    if not force:
        known = await client.get(address)
        if known.status_code != httpx.codes.NOT_FOUND and metadata.items() <= _checked(known)["metadata"].items():
            return False
    await _json(
        client,
        "PUT",
        address,
        content=_blocks(path),
        headers=_type_of(path),
        params={"metadata": json.dumps(metadata)},
    )
    return True


def _stamp(path: Path) -> dict[str, int | float]:
    status = path.stat()
    return {"bytes": status.st_size, "modified_s": round(status.st_mtime, 3)}


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(file.read, _READ_BYTES):
            yield block


def _type_of(path: Path) -> Mapping[str, str]:
    """The bytes say what kind of audio they are."""
    return {"Content-Type": "text/plain" if path.suffix.lower() in TEXT else "application/octet-stream"}


async def _only_collection(client: httpx.AsyncClient) -> str:
    names = [each["name"] for each in (await _json(client, "GET", "/v1/collections"))["collections"]]
    if len(names) != 1:
        raise Refused(f"name one with --collection: {', '.join(names)}" if names else "there is no collection yet")
    return str(names[0])


async def _json(client: httpx.AsyncClient, method: str, path: str, **request: Any) -> Any:
    """Raises Refused."""
    return _checked(await client.request(method, path, **request))


def _checked(answer: httpx.Response) -> Any:
    if answer.is_success:
        return answer.json()
    try:
        raise Refused(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{answer.url} answered {answer.status_code}") from None


def _condition(matching: str | None) -> Any:
    try:
        return json.loads(matching) if matching else None
    except ValueError:
        complain("--filter is no JSON")
        raise typer.Exit(2) from None


def _table(results: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("score", "item", "where")
    for hit in results:
        places = ", ".join(_place(match) for match in hit["matches"])
        table.add_row(f"{hit['score']:.3f}", Text(hit["id"]), places)
    return table


def _place(match: Mapping[str, Any]) -> str:
    if "start_s" in match:
        return f"{_clock(match['start_s'])}-{_clock(match['end_s'])}"
    return f"characters {match['char_start']}-{match['char_end']}" if "char_start" in match else ""


def _clock(seconds: float) -> str:
    """83.2 -> 1:23.2"""
    tenths = round(10 * seconds)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{rest}" if hours else f"{minutes}:{rest}"
