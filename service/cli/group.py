"""The command group: our own commands, and those that other packages register as entry points, loaded when called."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

ENTRY_POINTS = "auricle.commands"


class Commands(TyperGroup):
    """Names come from the packages' metadata alone; the code behind a name is imported for that name only."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_registered())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if command := super().get_command(ctx, cmd_name):
            return command
        entry_point = _registered().get(cmd_name)
        return _load(entry_point) if entry_point else None


def _registered() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINTS)}


def _load(entry_point: EntryPoint) -> Any:
    target = entry_point.load()
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(pretty_exceptions_enable=False)
        target.command(entry_point.name)(function)
    command = typer.main.get_command(target)
    command.name = entry_point.name
    return command
