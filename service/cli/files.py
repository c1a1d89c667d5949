"""`auricle tokenize` and `detokenize`: the models at work on files, here or on a Triton server, without HTTP."""

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from service.backends.auto import create
from service.cli.environment import complain, console, ensure_models, fail
from service.errors import ServiceError
from service.media.audio import Channel
from service.media.decoders import Decoders
from service.media.encode import AudioWriter, Format
from service.models.tokenizer import capability, container
from service.models.tokenizer.codec import Codec
from service.models.tokenizer.decoders import decode_tokens
from service.models.tokenizer.model import NAME, TokenizerModel
from service.models.tokenizer.preprocess import AudioWindows
from service.models.tokenizer.tokens import Tokens
from service.offload import Offload
from service.repository import RepositoryError
from service.settings import Settings
from service.web.trace import Trace
from service.web.work import Work

CONTAINER = ".aurt"
# what a folder is searched for
AUDIO = frozenset(
    (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a"),
        *(".mp4", ".aac", ".webm", ".mka", ".mkv", ".aif", ".aiff"),
    )
)

Convert = Callable[[Codec, BinaryIO, BinaryIO], Awaitable[None]]
Done = Callable[[Codec, Path], bool]  # whether a target is what converting would make


@dataclass
class Report:
    """What became of the files."""

    done: int = 0
    skipped: int = 0
    failed: dict[Path, str] = field(default_factory=dict)


def tokenize(settings: Settings, paths: list[Path], out: Path, channel: Channel, force: bool) -> int:
    """Audio files to containers; returns the exit code."""

    async def convert(codec: Codec, source: BinaryIO, target: BinaryIO) -> None:
        model, work = codec.model, codec.work
        audio = await work.run("decode", work.decoders.open_audio, source, None, max_audio_s=work.settings.max_audio_s)
        windows = AudioWindows(audio.sample_rate, audio.channels, channel, model.front_end, model.layout.window_frames)
        codes = await codec.encode(codec.windows(audio, windows), model.layout)
        tokens = Tokens(model.layout, NAME, model.digest, windows.num_samples, codes)
        target.write(await work.run("encode", container.pack, tokens))

    def done(codec: Codec, target: Path) -> bool:
        try:
            return container.unpack(target.read_bytes()).model_digest == codec.model.digest
        except (ServiceError, OSError):
            return False

    return _convert(settings, _jobs(paths, out, AUDIO, CONTAINER), _never if force else done, "Tokenizing", convert)


def detokenize(settings: Settings, paths: list[Path], out: Path, audio_format: Format, force: bool) -> int:
    """Containers to audio files; returns the exit code."""

    async def convert(codec: Codec, source: BinaryIO, target: BinaryIO) -> None:
        model, work = codec.model, codec.work
        tokens = await work.run("decode", decode_tokens, source, container.MEDIA_TYPE, model, work.settings.max_audio_s)
        writer = AudioWriter(target, audio_format, tokens.layout.sample_rate, len(tokens.tokens))
        await codec.write(codec.waveform(codec.mel(tokens), tokens.num_samples), writer)

    def done(codec: Codec, target: Path) -> bool:
        return target.exists()

    suffix = f".{audio_format.partition('-')[0]}"
    return _convert(
        settings, _jobs(paths, out, {CONTAINER}, suffix), _never if force else done, "Detokenizing", convert
    )


def _never(codec: Codec, target: Path) -> bool:
    return False


def _jobs(paths: Iterable[Path], out: Path, suffixes: Iterable[str], suffix: str) -> dict[Path, Path]:
    """Target -> source. A folder's files keep their place below it. Exits with 2 if two files want one target."""
    jobs: dict[Path, Path] = {}
    for path in paths:
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes) if path.is_dir() else [path]
        for source in found:
            name = source.relative_to(path) if path.is_dir() else Path(source.name)
            target = out / name.with_name(name.name.removesuffix(CONTAINER) + suffix)
            if jobs.setdefault(target, source) != source:
                complain(f"{jobs[target]} and {source} would both become {target}")
                raise typer.Exit(2)
    if not jobs:
        complain(f"no {' '.join(sorted(suffixes))} files there")
        raise typer.Exit(2)
    return jobs


def _convert(settings: Settings, jobs: dict[Path, Path], done: Done, title: str, convert: Convert) -> int:
    ensure_models(settings)
    try:
        report = asyncio.run(_run(settings, jobs, done, title, convert))
    except (RepositoryError, ServiceError) as exc:
        fail(str(exc))
    for source, reason in report.failed.items():
        complain(f"{source}: {reason}", what="failed")
    console.print(
        f"{report.done} done, {report.skipped} already there, {len(report.failed)} failed",
        highlight=False,
        soft_wrap=True,
    )
    return 1 if report.failed else 0


async def _run(settings: Settings, jobs: dict[Path, Path], done: Done, title: str, convert: Convert) -> Report:
    report = Report()
    # Several short files share a batch as the windows of a long one do; together they stay within the same bound.
    together = min(len(jobs), settings.max_inflight_windows)
    each = settings.model_copy(update={"max_inflight_windows": settings.max_inflight_windows // together})
    backend = create(each, only=(*capability.required, *capability.optional))
    offload = Offload(each.preprocess_workers, max_queued=2 * together)
    decoders = Decoders(each.preprocess_workers, each.decode_memory_bytes, each.decode_cpu_s)
    queue = iter(jobs.items())
    with progress() as bars:
        bar = bars.add_task(title, total=len(jobs))

        async def work(codec: Codec) -> None:
            for target, source in queue:
                try:
                    if await codec.work.offload.run(done, codec, target):
                        report.skipped += 1
                        bars.advance(bar)
                        continue
                    with source.open("rb") as reader, _atomic(target) as writer:
                        await convert(codec, reader, writer)
                    report.done += 1
                except (ServiceError, OSError) as exc:
                    report.failed[source] = str(exc)
                bars.advance(bar)

        try:
            await backend.start()
            await capability.check(backend)
            codec = Codec(Work(each, backend, offload, offload, decoders, Trace("")), TokenizerModel.of(backend.models))
            async with asyncio.TaskGroup() as group:
                for _ in range(together):
                    group.create_task(work(codec))
        finally:
            await backend.close()
            offload.close()
            decoders.close()
    return report


def progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


@contextmanager
def _atomic(target: Path) -> Iterator[BinaryIO]:
    """A file that appears as `target` when it is complete, and not at all otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise
