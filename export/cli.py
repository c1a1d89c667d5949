"""The commands of the model side, each imported when it is called: `python -m export`, and part of `auricle`."""

import importlib
from typing import Any

import typer
from typer.core import TyperGroup

# The same as the entry points `auricle.commands` in pyproject.toml, for a tree that is not installed.
COMMANDS = {
    "corpus": "export.corpus.command:corpus",
    "export": "export.command:export",
    "train": "export.training.command:train",
}


class Commands(TyperGroup):
    """Knows the names; imports the code behind one when that one is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        target = getattr(importlib.import_module(module), name)
        if not isinstance(target, typer.Typer):
            function, target = target, typer.Typer(pretty_exceptions_enable=False, add_completion=False)
            target.command(cmd_name)(function)
        command = typer.main.get_command(target)
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, help="Train, export and measure the models."
)


@app.callback()
def main() -> None:
    """Train and export the models that the gateway serves, and rebuild the data that they learned from."""
