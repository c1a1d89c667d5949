"""Fetches tritonserver once, and builds the Python environment that its backend processes embed."""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

WHEEL = "nvidia-pytriton==0.7.0"  # tritonserver 2.51 (24.10)
# The wheel's backend process reads the ABI of numpy 1: with numpy 2 inputs arrive corrupted, without any error.
STUB_NUMPY = "numpy==1.26.4"


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("AURICLE_TEST_CACHE") or f"{base}/auricle-tests").expanduser().resolve()


def wheel() -> Path:
    """The folder of the unpacked wheel."""
    return once(cache() / WHEEL.replace("==", "-"), lambda folder: pip_install(WHEEL, folder))


def stub_python() -> Path:
    """A python3 with numpy 1 of its own that sees the packages of this environment, except its numpy."""
    packages = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    key = hashlib.sha256("\n".join([sys.executable, *packages]).encode()).hexdigest()[:12]

    def build(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        site_packages = folder / "lib" / version / "site-packages"
        pip_install(STUB_NUMPY, site_packages)
        lines = [f"import site; site.addsitedir({path!r})" for path in packages]
        (site_packages / "_outer.pth").write_text("\n".join(lines) + "\n")

    return once(cache() / f"stub-{key}", build) / "bin" / "python3"


def pip_install(requirement: str, folder: Path) -> None:
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else ["uv", "pip"]
    quiet = [*pip, "install", "--quiet", "--no-deps", "--target", str(folder), requirement]
    subprocess.run(quiet, check=True)


def once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Builds aside and renames, so that a half-built folder is never used; of two builders the first one wins."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            build(aside)
            with contextlib.suppress(OSError):
                aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder
