"""`auricle serve`: the server, and the signals that end it."""

import signal
import sys

from service.cli.environment import ensure_models, fail
from service.cli.server import Server
from service.settings import Settings
from service.web import logs


def run(settings: Settings) -> int:
    """Serves until a signal, and returns the exit code."""
    ensure_models(settings)
    logs.configure(settings.log_level, settings.log_format)
    server = Server(settings)
    # uvicorn raises the signal again once it has shut down gracefully; by then all is well
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        server.run()
    except SystemExit as exc:  # also uvicorn's own, where it could not listen
        return 0 if exc.code == 0 else 1
    if server.failure is not None:
        fail(str(server.failure))
    return 0
