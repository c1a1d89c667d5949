"""What every command needs before it starts: settings, a console, and models that have been built."""

import subprocess
import sys
from importlib.util import find_spec
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from service.repository import RepositoryError, load
from service.settings import Settings

console = Console(stderr=True)


def settings(**options: Any) -> Settings:
    """Settings from the environment, overridden by the options that were given. Exits with 2 if they do not fit."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as exc:
        for error in exc.errors():
            name = "_".join(str(step) for step in error["loc"])
            complain(f"{name} (AURICLE_{name.upper()}): {error['msg']}")
        raise typer.Exit(2) from exc


def ensure_models(settings: Settings) -> None:
    """Exports the models that the repository declares and lacks. Exits with 1 if that is not possible."""
    if settings.triton_url:
        return
    try:
        models = load(settings.model_repository)
    except RepositoryError as exc:
        fail(str(exc))
    # Without a digest there are no weights to build from: none ship yet.
    buildable = [config for config in models.values() if config.parameters.get("weights_digest") != ""]
    if buildable and all(config.versions for config in buildable):
        return
    if find_spec("export") is None:
        fail(f"{settings.model_repository} has no built models, and the package that exports them is not installed")
    console.print(Text(f"The models in {settings.model_repository} have not been built yet. Exporting them, once:"))
    command = [sys.executable, "-m", "export", "export", "--out", str(settings.model_repository)]
    if subprocess.run(command, check=False).returncode:
        fail("the export failed; its messages are above")


def fail(reason: str) -> NoReturn:
    """Prints why and exits with 1."""
    complain(reason)
    raise typer.Exit(1)


def complain(reason: str, *, what: str = "error") -> None:
    """One line on standard error, whatever characters `reason` has."""
    console.print(Text.assemble((f"{what}: ", "red"), reason), soft_wrap=True)
