"""`auricle serve`: uvicorn around the application, with a graceful end."""

import signal
import socket
import ssl
import sys
from ipaddress import ip_address
from typing import Any

import uvicorn

from service.app import create_app
from service.cli.environment import console, ensure_models, fail
from service.repository import RepositoryError
from service.settings import Settings
from service.web import connections, logs
from service.web.keys import KeyFile

_WEBSOCKET_MESSAGE_BYTES = 1 << 20
_WEBSOCKET_QUEUE = 8  # messages that wait per stream before its socket is no longer read


def run(settings: Settings) -> int:
    """Serves until a signal, and returns the exit code."""
    check_protection(settings)
    ensure_models(settings)
    logs.configure(settings.log_level)
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


def check_protection(settings: Settings) -> None:
    """Exits with 1 where the service would be open to others unasked, or its keys or certificate cannot be read."""
    if not (settings.api_keys_file or settings.allow_anonymous or _is_loopback(settings.host)):
        fail(
            f"{settings.host} is an address that others reach, and no API keys are asked for. Make one with "
            "`auricle keys add NAME` and set AURICLE_API_KEYS_FILE; or set AURICLE_ALLOW_ANONYMOUS=true where what is "
            "in front of the service decides who may use it."
        )
    try:
        if settings.api_keys_file and not KeyFile.read(settings.api_keys_file).keys:
            fail(f"{settings.api_keys_file} has no API keys: `auricle keys add NAME` makes one")
        if settings.tls_certificate and settings.tls_key:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as exc:
        fail(f"{settings.tls_certificate} and {settings.tls_key} are no certificate and its key: {exc.reason}")
    except (OSError, ValueError) as exc:
        fail(str(exc))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(uvicorn.Server):
    """Says where it listens, once every model can answer; ends if one never will (`failure`)."""

    def __init__(self, settings: Settings) -> None:
        self.failure: RepositoryError | None = None
        super().__init__(
            uvicorn.Config(
                create_app(settings),
                host=settings.host,
                port=settings.port,
                http=connections.protocol(settings),
                ssl_certfile=settings.tls_certificate,
                ssl_keyfile=settings.tls_key,
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
        application.state.runtime.decoders.start()
        scheme = "https" if self.config.is_ssl else "http"
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        console.print(f"Auricle is ready on {scheme}://{address}:{port}", highlight=False, soft_wrap=True)
