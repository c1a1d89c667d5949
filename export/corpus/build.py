"""The corpus folder: every listed recording as 16 kHz mono FLAC, and ``metadata.jsonl`` about them."""

import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import av

from export.corpus.archives import open_recording
from export.corpus.audio import decode, duration_s, write_flac
from export.corpus.manifest import Entry

logger = logging.getLogger(__name__)

MAX_MUSIC_S = 60.0
"""Music repeats itself: the first minute of many pieces teaches more than all of a few."""
METADATA = "metadata.jsonl"
ORDER = ("speech", "effect", "music")


class RecordingError(Exception):
    """A recording is missing or cannot be decoded."""


def build(entries: Iterable[Entry], packages: dict[str, Path], out: Path, workers: int) -> Iterator[Entry]:
    """Decode the entries of the unpacked ``packages`` into ``out``; yield each when it is done.

    Speech comes first, and the order within a kind is mixed but fixed, so that the folder is of use before it is
    full. Recordings that are already there are kept. A recording that is missing or broken is logged and left out.
    """
    out.mkdir(parents=True, exist_ok=True)
    complete = out / ".complete"
    complete.unlink(missing_ok=True)
    described = tidy(out)
    jobs = sorted(entries, key=lambda entry: (ORDER.index(entry.kind), entry.id))
    with (
        (out / METADATA).open("a", encoding="utf-8") as metadata,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        pending = {
            pool.submit(convert, entry, packages[entry.package], out): entry
            for entry in jobs
            if entry.output_path not in described
        }
        yield from (entry for entry in jobs if entry.output_path in described)
        for future in as_completed(pending):
            entry = pending[future]
            try:
                seconds = future.result()
            except RecordingError as error:
                logger.warning("left out %s of %s: %s", entry.path, entry.package, error)
            else:
                metadata.write(json.dumps(describe(entry, seconds), ensure_ascii=False) + "\n")
                metadata.flush()
            yield entry
    complete.touch()


def tidy(out: Path) -> set[str]:
    """Keep the lines of an earlier run whose recordings are there, drop a torn one. Returns the recordings' paths."""
    metadata = out / METADATA
    lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True) if metadata.exists() else []
    kept = {path: line for line in lines if line.endswith("\n") and (out / (path := json.loads(line)["path"])).exists()}
    part = metadata.with_suffix(".part")
    part.write_text("".join(kept.values()), encoding="utf-8")
    part.replace(metadata)
    return set(kept)


def convert(entry: Entry, root: Path, out: Path) -> float:
    """Decode one recording unless it is there already. Returns its seconds."""
    path = out / entry.output_path
    if not path.exists():
        try:
            with open_recording(root, entry.path) as file:
                samples = decode(file, entry.path, MAX_MUSIC_S if entry.kind == "music" else None)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise RecordingError(str(error)) from error
        write_flac(path, samples)
    return duration_s(path)


def describe(entry: Entry, seconds: float) -> dict[str, str | float | None]:
    """One line of ``metadata.jsonl``."""
    return {
        "path": entry.output_path,
        "seconds": round(seconds, 3),
        "split": entry.split,
        "kind": entry.kind,
        "text": entry.text,
        "text_kind": entry.text_kind,
        "lang": entry.lang,
        "speaker": entry.speaker,
        "bandwidth_hz": entry.bandwidth_hz,
        "package": entry.package,
        "version": entry.version,
        "licence": entry.licence,
    }
