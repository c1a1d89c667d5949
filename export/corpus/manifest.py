"""The list of recordings that the corpus is made of: where each lies, its split, its words and its licence.

``manifest.jsonl.gz`` keeps only what a model card can defend. Training speech has a measured bandwidth of at least
6 kHz and a free licence; nothing synthetic is listed. Test holds whole packages, speakers and languages that training
never sees; its recordings with the licence "freeware" may be measured on and are never trained on.
"""

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Split = Literal["train", "dev", "test"]
Kind = Literal["speech", "effect", "music"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording. ``path`` is relative to the unpacked package; ``archive!/member`` names a file in an archive."""

    package: str
    version: str
    licence: str
    split: Split
    kind: Kind
    path: str
    seconds: float
    bandwidth_hz: int
    text: str | None = None
    text_kind: str | None = None
    lang: str | None = None
    speaker: str | None = None

    @property
    def id(self) -> str:
        """A short name that stays the same whatever else the manifest lists."""
        return hashlib.sha256(f"{self.package}/{self.path}".encode()).hexdigest()[:12]

    @property
    def output_path(self) -> str:
        """Where the decoded recording lies in the corpus folder."""
        return f"{self.split}/{self.kind}/{self.package}/{self.id}.flac"


def read_manifest() -> Iterator[Entry]:
    """The recordings of the manifest that ships with the project."""
    manifest = files("export.corpus").joinpath("manifest.jsonl.gz")
    with manifest.open("rb") as file, gzip.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield Entry(**json.loads(line))
