"""The span that the work at hand belongs to, so that whoever goes further into it is seen as part of it.

Knows no tracing system: `service.web.tracing` is the one that there is. While nobody traces there is no span, and
nothing is spent on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Attributes = Mapping[str, str | int | float]  # named as in OpenTelemetry's semantic conventions


class Span(Protocol):
    """An interval of one request."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    def child(self, name: str) -> "Span":
        """A part of this interval, which begins now."""

    def call(self, name: str, attributes: Attributes) -> "Span":
        """A part that another server is asked to do."""

    def headers(self) -> dict[str, str]:
        """What that server is to be told, as in W3C Trace Context: `traceparent`."""

    def pause(self) -> None:
        """The interval ends here, unless it goes on later."""

    def end(self, attributes: Attributes, *, name: str | None = None, failure: str | None = None) -> None:
        """Now, or where it paused. `name` replaces the first one; `failure` is the kind of error that it ended in."""


_current: ContextVar[Span | None] = ContextVar("span", default=None)


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """Makes `span` the current one."""
    outer = _current.get()
    _current.set(span)
    try:
        yield
    finally:
        _current.set(outer)  # not by token: a generator may be closed in another context than it began in


@contextmanager
def calling(name: str, attributes: Attributes) -> Iterator[dict[str, str] | None]:
    """A call of another server, with the headers to send along; None while nobody traces."""
    outer = _current.get()
    if outer is None:
        yield None
        return
    span = outer.call(name, attributes)
    try:
        yield span.headers()
    except BaseException as exc:
        span.end({}, failure=type(exc).__name__)
        raise
    span.end({})
