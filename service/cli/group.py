"""The command group: our own commands, and those that other packages register as entry points, loaded when called."""

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ENTRY_POINTS = "auricle.commands"


class Commands(TyperGroup):
    """Lists registered commands without importing them; the code behind a name is imported when that name is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_registered())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if command := super().get_command(ctx, cmd_name):
            return command
        entry_point = _registered().get(cmd_name)
        return TyperCommand(cmd_name, help=_summary(entry_point)) if entry_point else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name not in self.commands:
            command = _load(_registered()[name])
        return name, command, rest


def _registered() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=ENTRY_POINTS)}


def _summary(entry_point: EntryPoint) -> str:
    """What the source says about the command: its function's docstring, else that of its module; the first line."""
    spec = find_spec(entry_point.module)
    if spec is None or spec.origin is None:
        return ""
    module = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    documented: ast.Module | ast.FunctionDef = module
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == entry_point.attr:
            documented = node
    return (ast.get_docstring(documented) or "").partition("\n")[0]


def _load(entry_point: EntryPoint) -> Any:
    target = entry_point.load()
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(pretty_exceptions_enable=False)
        target.command(entry_point.name)(function)
    command = typer.main.get_command(target)
    command.name = entry_point.name
    return command
