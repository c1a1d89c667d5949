"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """`advice` is what to do: a command, or a setting. An error keeps the service, or a part of it, from working."""

    level: Level
    subject: str
    text: str
    advice: str | None = None
