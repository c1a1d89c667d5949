"""Pins what the images install, with hashes: `pip install uv && python docker/lock.py` when pyproject.toml changes.

An image gets the distributions that its package imports, at the versions that pyproject.toml allows, and what those
need. PyTorch comes from an index of its own, whose builds have no CUDA in them: only what it needs is pinned here.
"""

import ast
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "docker" / "requirements"
PYTHON = "3.11"  # of the base image

# package of this repository -> what its image needs that no import of it says
IMAGES = {
    "service": ["fastapi-swagger", "opentelemetry-exporter-otlp-proto-http", "setuptools"],
    "export": ["onnxscript"],  # PyTorch's ONNX exporter
}
TORCH = ("torch", "torchaudio")
NVIDIA = re.compile(r"nvidia|cuda|triton$")  # what PyTorch's build for GPUs needs


def main() -> None:
    for package in IMAGES:
        wanted = [str(requirement) for requirement in (*requirements(package), *needs_of_torch())]
        without_torch = [f"{name}; sys_platform == 'never'" for name in TORCH]
        with tempfile.TemporaryDirectory() as folder:
            source, override = Path(folder, "requirements.in"), Path(folder, "override.txt")
            source.write_text("\n".join(wanted))
            override.write_text("\n".join(without_torch))
            compile_to(LOCKS / f"{package}.txt", source, override)


def requirements(package: str) -> Iterator[Requirement]:
    """What pyproject.toml says about each distribution that the image of `package` needs, PyTorch apart."""
    needed = imported(package) | {*IMAGES[package]}
    for name, requirement in declared().items():
        if name in needed and name not in TORCH:
            yield without_gpu(requirement)


def without_gpu(requirement: Requirement) -> Requirement:
    """GPUs are Triton's: the images run and prove models on the CPU."""
    return Requirement(f"{requirement}".partition(";")[0].replace("onnxruntime-gpu", "onnxruntime"))


def declared() -> dict[str, Requirement]:
    """The requirements of this project by name; of the optional ones, those that the images need."""
    file = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = file["project"]
    optional = project["optional-dependencies"]
    lines = file["build-system"]["requires"] + project["dependencies"] + optional["milvus"] + optional["otlp"]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in reversed(lines)}


@cache
def imported(package: str) -> set[str]:
    """The distributions of all modules that `package` imports."""
    modules = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    owners = packages_distributions()
    return {canonicalize_name(name) for module in modules for name in owners.get(module, [])}


def needs_of_torch() -> Iterator[Requirement]:
    for requirement in map(Requirement, requires("torch") or []):
        if not NVIDIA.search(requirement.name) and not (requirement.marker and "extra" in str(requirement.marker)):
            yield requirement


def compile_to(lock: Path, source: Path, override: Path) -> None:
    options = [f"--python-version={PYTHON}", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    command = [sys.executable, "-m", "uv", "pip", "compile", str(source), f"--override={override}", *options]
    subprocess.run([*command, f"--output-file={lock}"], check=True)


if __name__ == "__main__":
    main()
