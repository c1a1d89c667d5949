"""Holds the embedded engine in a process of its own: it keeps the interpreter's lock while it works.

The process begins with the first call, and ends with its parent, however that ends.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from service.vectors.base import Engine

_engine: Engine | None = None  # of this process


def pool() -> ProcessPoolExecutor:
    """A pool of the one process. Its interpreter is a fresh one: a fork would copy locks that other threads hold."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)


def call(open_engine: Callable[[], Engine], method: str, *args: Any) -> Any:
    """Calls the engine, in the process, opening it if it is not open."""
    global _engine
    if _engine is None:
        _engine = open_engine()
    return getattr(_engine, method)(*args)


def _begin() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to the whole group: the parent says when it is over
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
