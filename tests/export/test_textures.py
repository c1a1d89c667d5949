"""Pictures of materials are rebuilt from packages that the test makes itself, and read as rooms need them."""

import hashlib
import json
import logging
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.corpus.packages import PackageError
from export.corpus.wheels import unpack_wheel, unpacked_wheel
from export.vggt_audio.textures import Source, build, load_textures, read_sources

FREE = {"GPL", "CC", "CC0", "Expat", "MIT", "public"}


def picture(width: int, height: int, colour: tuple[int, ...], kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = BytesIO()
    Image.new(mode, (width, height), colour).save(file, kind)
    return file.getvalue()


WOOD = picture(640, 320, (160, 110, 60))
BRICK = picture(64, 48, (150, 60, 50), "TGA")


def source(content: bytes, path: str, material: str, **more: object) -> Source:
    identity = hashlib.sha1(content).hexdigest()[:12]
    made = Source("rooms", "1.0", path, identity, material, "train", "GPL-2+", "somebody")
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def packages(tmp_path: Path) -> dict[str, Path]:
    root = tmp_path / "packages/rooms"
    (root / "usr/share").mkdir(parents=True)
    (root / "usr/share/floor.png").write_bytes(WOOD)
    (root / "usr/share/broken.png").write_bytes(b"not a picture")
    with zipfile.ZipFile(root / "usr/share/pak0.pk3", "w") as archive:
        archive.writestr("textures/wall.tga", BRICK)
    return {"rooms": root}


@pytest.fixture
def sources() -> list[Source]:
    return [
        source(WOOD, "usr/share/floor.png", "wood", size_cm=(42.5, 30.0)),
        source(BRICK, "usr/share/pak0.pk3!/textures/wall.tga", "brick", split="test"),
    ]


def test_pictures_in_files_and_in_archives_become_small_and_are_read_by_split(
    packages: dict[str, Path], sources: list[Source], tmp_path: Path
) -> None:
    assert build(sources, packages, tmp_path / "out") == 2
    [floor] = load_textures(tmp_path / "out", "train")
    assert (floor.id, floor.material, floor.size_m) == (sources[0].id, "wood", (0.425, 0.3))
    assert floor.image.shape == (160, 320, 3)
    assert floor.image.dtype == np.uint8
    assert np.abs(floor.image.astype(int) - (160, 110, 60)).max() <= 3
    [wall] = load_textures(tmp_path / "out", "test")
    assert (wall.material, wall.size_m, wall.image.shape) == ("brick", None, (48, 64, 3))


def test_the_folder_says_where_each_picture_comes_from(
    packages: dict[str, Path], sources: list[Source], tmp_path: Path
) -> None:
    build(sources, packages, tmp_path / "out")
    first = json.loads((tmp_path / "out/manifest.jsonl").read_text().splitlines()[0])
    assert first["path"] == f"wood/{sources[0].id}.jpg"
    assert first["source"] == "usr/share/floor.png"
    assert (first["package"], first["licence"], first["author"]) == ("rooms", "GPL-2+", "somebody")
    assert (first["width_cm"], first["height_cm"]) == (42.5, 30.0)


def test_a_second_run_keeps_what_is_there_and_adds_the_rest(
    packages: dict[str, Path], sources: list[Source], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build(sources[:1], packages, out)
    written = (out / sources[0].output_path).stat().st_mtime_ns
    assert build(sources, packages, out) == 2
    assert (out / sources[0].output_path).stat().st_mtime_ns == written
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 2


def test_what_is_missing_broken_or_changed_is_left_out_and_named(
    packages: dict[str, Path], sources: list[Source], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [
        source(b"not a picture", "usr/share/broken.png", "wood"),
        source(WOOD, "usr/share/absent.png", "wood"),
        source(BRICK, "usr/share/floor.png", "wood"),
        source(BRICK, "usr/share/pak0.pk3!/absent.tga", "brick"),
    ]
    with caplog.at_level(logging.WARNING):
        assert build([*bad, sources[1]], packages, tmp_path / "out") == 1
    for name in ("broken.png", "absent.png", "SHA-1", "absent.tga"):
        assert name in caplog.text
    assert load_textures(tmp_path / "out", "train") == []


def test_a_folder_that_lacks_a_picture_or_its_manifest_is_not_read(
    packages: dict[str, Path], sources: list[Source], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        load_textures(tmp_path, "train")
    build(sources, packages, tmp_path / "out")
    (tmp_path / "out" / sources[0].output_path).unlink()
    with pytest.raises(FileNotFoundError):
        load_textures(tmp_path / "out", "train")


def test_the_shipped_list_has_a_free_licence_and_an_author_for_every_picture() -> None:
    sources = read_sources()
    assert len(sources) == len({entry.id for entry in sources}) > 1500
    assert {entry.licence.split("-")[0] for entry in sources if entry.split == "train"} <= FREE
    assert all(entry.author and "NC" not in entry.licence for entry in sources)


def test_no_package_or_furniture_library_is_in_both_splits() -> None:
    def library(entry: Source) -> str:
        archive, separator, _ = entry.path.partition("!/")
        return f"{entry.package}/{archive if separator else ''}"

    train, test = ({library(e) for e in read_sources() if e.split == split} for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


def test_wheels_are_opened_like_packages(tmp_path: Path) -> None:
    wheel = tmp_path / "world-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("world/grass.png", WOOD)
    unpack_wheel(wheel, tmp_path / "world")
    assert (tmp_path / "world/world/grass.png").read_bytes() == WOOD
    assert unpacked_wheel("world", "1.0", tmp_path) == tmp_path / "world"  # it is there: nothing is downloaded
    wheel.write_bytes(b"not a wheel")
    with pytest.raises(PackageError, match="not a wheel"):
        unpack_wheel(wheel, tmp_path / "again")
