"""`auricle train NAME`: every package of `export` with a `train.py` is a command, its TrainingOptions the options."""

import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperGroup

import export


def systems() -> dict[str, str]:
    """Name -> package of everything that can be trained."""
    packages = (f"export.{module.name}" for module in pkgutil.iter_modules(export.__path__) if module.ispkg)
    trainable = (package for package in packages if importlib.util.find_spec(f"{package}.train"))
    return {importlib.import_module(package).NAME: package for package in trainable}


class Systems(TyperGroup):
    """Lists the systems; imports the training code of one when that one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(systems())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        package = systems().get(cmd_name)
        if package is None:
            return None
        module = importlib.import_module(f"{package}.train")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(cmd_name, help=module.__doc__)(with_options(module.train, module.TrainingOptions))
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command


def with_options(run: Callable[[Any], Any], options: type[Any]) -> Callable[..., None]:
    """A function that takes the fields of the dataclass `options` as command-line options and calls `run` with them."""

    def call(**values: Any) -> None:
        typer.echo(run(options(**values)))

    hints = get_type_hints(options, include_extras=True)
    parameters = []
    for field in dataclasses.fields(options):
        kind, help_text = hints[field.name], None
        if get_origin(kind) is Annotated:
            kind, help_text = get_args(kind)
        parameter = inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=Annotated[kind, typer.Option(help=help_text)],
        )
        parameters.append(parameter)
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(call, "__signature__", inspect.Signature(parameters))  # noqa: B010 -- no attribute that mypy knows
    return call


train = typer.Typer(cls=Systems, no_args_is_help=True, add_completion=False)


@train.callback()
def main() -> None:
    """Train a model's weights on a folder of audio. Run it again to go on after an interruption."""
