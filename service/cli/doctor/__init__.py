"""`auricle doctor`: can the service run here as it is configured? Says what was found and what to do."""

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from service.cli.doctor import doors, host, media, models, stores
from service.cli.doctor.finding import Finding, Level
from service.settings import Settings

Check = Callable[[Settings], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    doors.check,
    host.check,
    models.check,
    media.check,
    stores.check,
)
_MARKS: dict[Level, tuple[str, str]] = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def run(settings: Settings) -> int:
    """Prints each finding as it comes; the exit code is 1 where one is an error."""
    console = Console()
    counts: dict[Level, int] = {"ok": 0, "warning": 0, "error": 0}
    for check in CHECKS:
        for finding in _examine(check, settings):
            counts[finding.level] += 1
            line = Text.assemble(_MARKS[finding.level], f" {finding.subject}: {finding.text}")
            console.print(line, soft_wrap=True)
            if finding.advice:
                console.print(Text(f"  → {finding.advice}", style="bold"), soft_wrap=True)
    console.print(f"{counts['error']} errors, {counts['warning']} warnings", highlight=False)
    return 1 if counts["error"] else 0


def _examine(check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except Exception as exc:  # noqa: BLE001  what nobody foresaw is a finding too, and the other checks go on
        yield Finding("error", check.__module__.rpartition(".")[2], f"the check itself failed: {exc!r}")
