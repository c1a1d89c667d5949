"""Recordings inside the archives that games keep them in: zip and pk3 files, and one adventure game's own format."""

import struct
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

QUEEN_HEADER = 13
"""Bytes before the table of an archive of Flight of the Amazon Queen: magic, version, language, features."""
QUEEN_ENTRY = struct.Struct(">12scII")
"""Name, bundle, offset and size of one file."""


def open_recording(root: Path, path: str) -> BinaryIO:
    """Open a file of an unpacked package; ``archive!/member`` opens a member of an archive.

    Raises:
        FileNotFoundError: the file or the member is not there.
    """
    outer, separator, member = path.partition("!/")
    if not separator:
        return (root / path).open("rb")
    archive = root / outer
    return BytesIO(read_queen(archive, member) if archive.name == "queen.1c" else read_zip(archive, member))


def read_zip(archive: Path, member: str) -> bytes:
    """The content of one member of a zip file."""
    try:
        return open_zip(archive).read(member)
    except KeyError as error:
        raise FileNotFoundError(f"{archive} has no {member}") from error


@cache
def open_zip(archive: Path) -> zipfile.ZipFile:
    """An open zip file, kept: reading the directory of a large one takes longer than reading a sound."""
    return zipfile.ZipFile(archive)


def read_queen(archive: Path, member: str) -> bytes:
    """The content of one file in an archive of Flight of the Amazon Queen (speech is MP3 under the suffix SB)."""
    if member not in (table := queen_table(archive)):
        raise FileNotFoundError(f"{archive} has no {member}")
    offset, size = table[member]
    with archive.open("rb") as file:
        file.seek(offset)
        return file.read(size)


@cache
def queen_table(archive: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of each file in the archive."""
    with archive.open("rb") as file:
        file.seek(QUEEN_HEADER)
        (count,) = struct.unpack(">H", file.read(2))
        entries = QUEEN_ENTRY.iter_unpack(file.read(count * QUEEN_ENTRY.size))
        return {name.rstrip(b"\0").split(b"\0")[0].decode("ascii"): (offset, size) for name, _, offset, size in entries}
