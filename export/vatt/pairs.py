"""Recordings and what is true of them: JSON lines, `python -m export.vatt.pairs CORPUS` writes them of a corpus.

A line has `path` (relative to the file), `text` or `texts`, and may have `seconds`, `split`, `kind`, `lang`, `package`
and `speaker`. The corpus's own metadata.jsonl is such a file; the one written here knows more texts: what a recording
in another language means, where the package says the same in English.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import soundfile
import typer

from export.corpus.build import METADATA
from export.corpus.command import DEFAULT_OUT
from export.corpus.manifest import Entry, read_manifest

FILENAME = "pairs.jsonl"
MIN_CHARACTERS = 3  # a spoken letter is nothing that anybody looks for
NAMES = frozenset({"filename", "label", "meaning_en", "title"})
STAMP = re.compile(r"stamps/(.+?)(?:_desc(?:_\w+)?)?\.\w+$")
PROMPT = re.compile(r"asterisk/sounds/[^/]+/(.+)\.\w+$")


@dataclass(frozen=True)
class Pair:
    """A recording, and every text that is true of it."""

    path: Path
    seconds: float
    texts: tuple[str, ...]
    split: str
    kind: str = ""
    lang: str = ""
    package: str = ""
    speaker: str = ""


def read_pairs(source: Path, split: str) -> list[Pair]:
    """The lines of one split that have a text; a line that names no split is of "train".

    `source`: a file of lines, or a corpus folder. Raises FileNotFoundError when there is none, ValueError with the
    line's number when one has no path, or no recording, or when nothing is of the split.
    """
    if source.is_dir():
        source = next((source / name for name in (FILENAME, METADATA) if (source / name).exists()), source / FILENAME)
    with source.open(encoding="utf-8") as lines:
        pairs = [pair for number, line in enumerate(lines, 1) if (pair := _pair(source, number, line)).split == split]
    pairs = [pair for pair in pairs if pair.texts]
    if not pairs:
        raise ValueError(f"{source} lists no recording with a text of the split {split}")
    return pairs


def _pair(source: Path, number: int, line: str) -> Pair:
    try:
        fields: dict[str, Any] = json.loads(line)
        path = source.parent / fields["path"]
        texts = fields["texts"] if "texts" in fields else [fields.get("text")]
        seconds = fields.get("seconds") or soundfile.info(path).duration
    except (ValueError, KeyError, TypeError, OSError, soundfile.LibsndfileError) as error:
        raise ValueError(f"{source}, line {number}: {error!r}") from error
    about = {name: str(fields.get(name) or "") for name in ("kind", "lang", "package", "speaker")}
    return Pair(path, float(seconds), tuple(text for text in texts if text), fields.get("split") or "train", **about)


def write_pairs(corpus: Path, entries: Iterable[Entry]) -> int:
    """Write the corpus's pairs beside its metadata; returns how many have a text."""
    listed = {entry.output_path: entry for entry in entries}
    english = dict(_english(listed.values()))
    count = 0
    part = corpus / f".{FILENAME}"
    with (corpus / METADATA).open(encoding="utf-8") as lines, part.open("w", encoding="utf-8") as out:
        for line in lines:
            fields = json.loads(line)
            if (entry := listed.get(fields["path"])) and (texts := texts_of(entry, english)):
                kept = {
                    name: fields[name] for name in ("path", "seconds", "split", "kind", "lang", "package", "speaker")
                }
                out.write(json.dumps(kept | {"texts": texts}, ensure_ascii=False) + "\n")
                count += 1
    part.replace(corpus / FILENAME)
    return count


def texts_of(entry: Entry, english: dict[str, str]) -> list[str]:
    """Its own words, and their English meaning; music is also called so."""
    texts = [words(entry)] if entry.text else []
    if (place := place_of(entry)) and entry.lang != "en" and place in english:
        texts.append(english[place])
    if entry.kind == "music":
        texts.append("music")
    return [text for text in dict.fromkeys(texts) if len(text) >= MIN_CHARACTERS]


def words(entry: Entry) -> str:
    """The text as somebody would write it: names of files without their underscores and numbers."""
    text = (entry.text or "").strip()
    return re.sub(r"[\W_\d]+", " ", text).strip() if entry.text_kind in NAMES else text


def place_of(entry: Entry) -> str | None:
    """What recordings that say the same in several languages have in common."""
    if entry.package.startswith("tuxpaint-stamps"):
        return match[1] if (match := STAMP.search(entry.path)) else None
    if entry.package.startswith("asterisk-core-sounds"):
        return match[1] if (match := PROMPT.search(entry.path)) else None
    return None


def _english(entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        spoken = entry.lang == "en" and entry.text_kind == "transcript"
        shown = entry.package.startswith("tuxpaint-stamps") and entry.text_kind == "caption"
        if (spoken or shown) and entry.text and (place := place_of(entry)):
            yield place, entry.text.strip()


def main(corpus: Annotated[Path, typer.Argument(help="A folder that `auricle corpus` filled.")] = DEFAULT_OUT) -> None:
    """Write the recordings of a corpus that have a text, with all that is known to be true of each."""
    folder = corpus.expanduser()
    typer.echo(f"{write_pairs(folder, read_manifest())} recordings with a text in {folder / FILENAME}")


if __name__ == "__main__":
    typer.run(main)
