"""The Dockerfiles, and what they install."""

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docker import lock
from tests.docker.conftest import DOCKER, ROOT

DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


def pins(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([^ \n]+)", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    result = subprocess.run(["hadolint", "--no-color", file], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_nothing_runs_as_root(file: Path) -> None:
    last = file.read_text().split("\nFROM ")[-1]
    assert "\nUSER 10001:10001\n" in last
    assert last.index("USER 10001") < last.index("ENTRYPOINT")


@pytest.mark.parametrize("package", lock.IMAGES)
def test_an_image_has_what_its_package_imports_at_versions_that_the_project_allows(package: str) -> None:
    installed = pins(lock.LOCKS / f"{package}.txt") | pins(lock.LOCKS / "torch.txt")
    for name, wanted in lock.declared().items():
        if name in lock.imported(package) | {*lock.IMAGES[package]}:
            pinned = installed[canonicalize_name(lock.without_gpu(wanted).name)]
            assert wanted.specifier.contains(pinned.removesuffix("+cpu"), prereleases=True), name


@pytest.mark.parametrize("package", lock.IMAGES)
def test_every_file_of_an_image_has_a_hash_and_none_is_for_gpus(package: str) -> None:
    text = (lock.LOCKS / f"{package}.txt").read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    for entry in entries:
        assert "--hash=sha256:" in entry, entry
        assert not lock.NVIDIA.match(Requirement(entry.split()[0]).name), entry


def test_a_context_has_what_the_images_copy_and_no_built_models() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for file in DOCKERFILES:
        for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", file.read_text(), re.MULTILINE):
            for source in sources.split():
                assert (ROOT / source).exists(), source
                assert any(source.rstrip("/") == path or source.startswith(f"{path}/") for path in kept), source
    assert "model_repository/*/[0-9]*" in (ROOT / ".dockerignore").read_text()
