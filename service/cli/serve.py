"""`auricle serve`: uvicorn around the application, with a graceful end."""

import signal
import socket
import sys
from typing import Any

import uvicorn

from service.app import create_app
from service.cli.environment import console, ensure_models, fail
from service.repository import RepositoryError
from service.settings import Settings
from service.web import logs

_WEBSOCKET_MESSAGE_BYTES = 1 << 20
_WEBSOCKET_QUEUE = 8  # messages that wait per stream before its socket is no longer read


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


class Server(uvicorn.Server):
    """Says where it listens, once every model can answer; ends if one never will (`failure`)."""

    def __init__(self, settings: Settings) -> None:
        self.failure: RepositoryError | None = None
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # the application logs its requests itself
                server_header=False,
                timeout_graceful_shutdown=int(settings.shutdown_grace_s),
                ws_max_size=_WEBSOCKET_MESSAGE_BYTES,
                ws_max_queue=_WEBSOCKET_QUEUE,
                ws_per_message_deflate=False,  # PCM does not shrink, and a small message must stay small
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started:
            return
        application: Any = self.config.app
        try:
            await application.state.runtime.started  # probes are answered meanwhile
        except RepositoryError as exc:
            self.failure, self.should_exit = exc, True
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        console.print(f"Auricle is ready on http://{address}:{port}", highlight=False, soft_wrap=True)
