"""Debian packages by name: downloaded and unpacked into a folder, never installed."""

import logging
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

logger = logging.getLogger(__name__)


class PackageError(Exception):
    """A package cannot be had."""


def unpacked(package: str, version: str, cache: Path) -> Path:
    """The folder ``cache/package`` with the package's files; downloads the package when it is not there.

    Raises:
        PackageError: apt does not know the package, or the download or the unpacking fails.
    """
    folder = cache / package
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache, prefix=f".{package}-") as scratch:
            unpack(download(package, version, Path(scratch)), folder)
    return folder


def download(package: str, version: str, folder: Path) -> Path:
    """Fetch the package's .deb into the folder; warn if apt offers another version than the manifest describes."""
    run(["apt-get", "download", "--quiet=2", package], cwd=folder)
    deb = next(folder.glob("*.deb"), None)
    if deb is None:
        raise PackageError(f"apt-get downloaded no file for {package}")
    found = run(["dpkg-deb", "--field", str(deb), "Version"], cwd=folder).strip()
    if found != version:
        logger.warning("%s is version %s, the manifest describes %s", package, found, version)
    return deb


def unpack(deb: Path, folder: Path) -> None:
    """Unpack a .deb; the folder appears when it is whole."""
    whole = deb.parent / "unpacked"
    run(["dpkg-deb", "--extract", str(deb), str(whole)], cwd=deb.parent)
    shutil.move(whole, folder)


def run(command: list[str], cwd: Path) -> str:
    """The command's standard output."""
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise PackageError(f"{command[0]} is not here: the corpus is built on Debian or Ubuntu") from error
    except subprocess.CalledProcessError as error:
        hint = " (are the package lists there? apt-get update)" if command[0] == "apt-get" else ""
        raise PackageError(f"{' '.join(command)}: {error.stderr.strip()}{hint}") from error
