"""Structured logs on standard error: one JSON object a line, or for a person who watches, one line of text.

What a request logs on its way carries its id. Payloads are never logged.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

_bound: ContextVar[Mapping[str, str]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def bound(fields: Mapping[str, str]) -> Iterator[None]:
    """Whatever is logged inside has these fields as well: the ids of a request."""
    outer = _bound.get()
    _bound.set(fields)
    try:
        yield
    finally:
        _bound.set(outer)


class JsonFormatter(logging.Formatter):
    """Renders a record; what callers pass as `extra={"fields": {...}}` becomes members of the object."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _bound.get()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same in a line: `10:31:07 info auricle.request: request request_id=... status=200`.

    A client chooses parts of it, such as the path: what is no printable character is escaped, else it could forge
    lines, or control the terminal.
    """

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = {**_bound.get(), **getattr(record, "fields", {})}
        values = "".join(f" {name}={value}" for name, value in fields.items())
        line = _printable(f"{time} {record.levelname.lower()} {record.name}: {record.getMessage()}{values}")
        if not record.exc_info:
            return line
        # indented, so that no line of an error's text looks like a record
        traceback = self.formatException(record.exc_info).split("\n")
        return "\n  ".join([line, *map(_printable, traceback)])


def configure(level: str, style: Literal["auto", "json", "text"]) -> None:
    """Sends every logger of the process, and Python's warnings, to standard error. Called once, by what serves."""
    handler = logging.StreamHandler(sys.stderr)
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # what it says of WebSockets has whole addresses, query and all; the rest is said by us
    logging.getLogger("uvicorn.error").setLevel(max(logging.getLogger().level, logging.WARNING))


def _printable(text: str) -> str:
    """Other characters as Python writes them: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
