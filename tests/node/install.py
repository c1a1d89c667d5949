"""Fetches the npm packages once, and runs the scripts beside this file with them."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.tritonserver.install import cache, once

PACKAGES = ("three@0.187.0", "gltf-validator@2.0.0-dev.3.10", "resonance-audio@1.0.0")
SCRIPTS = Path(__file__).parent


def available() -> bool:
    return all(shutil.which(program) for program in ("node", "npm"))


def packages() -> Path:
    """The folder that holds node_modules."""
    name = "npm-" + "-".join(package.split("@")[0] for package in PACKAGES)

    def build(folder: Path) -> None:
        quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        (folder / "package.json").write_text('{"private": true}')
        subprocess.run(["npm", "install", *quiet, *PACKAGES], check=True)

    return once(cache() / name, build)


def run(script: str, *arguments: str) -> Any:
    """The JSON that `script` prints. Modules are found beside the importing file, so it runs from a copy there."""
    folder = packages()
    copy = folder / f"{os.getpid()}-{script}"
    shutil.copyfile(SCRIPTS / script, copy)
    try:
        done = subprocess.run(["node", copy, *arguments], capture_output=True, text=True, check=False, timeout=60)
    finally:
        copy.unlink()
    if done.returncode:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)
