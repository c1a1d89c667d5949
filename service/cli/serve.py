"""`auricle serve`: the server, and the signals that end it."""

import signal
import ssl
import sys
from ipaddress import ip_address

from service.cli.environment import ensure_models, fail
from service.cli.server import Server
from service.settings import Settings
from service.web import logs
from service.web.keys import KeyFile


def run(settings: Settings) -> int:
    """Serves until a signal, and returns the exit code."""
    if reason := exposure(settings):
        fail(reason)
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


def exposure(settings: Settings) -> str | None:
    """Why not to serve: open to others unasked, or with keys or a certificate that cannot be read."""
    if not (settings.api_keys_file or settings.allow_anonymous or _is_loopback(settings.host)):
        return (
            f"{settings.host} is an address that others reach, and no API keys are asked for. Make one with "
            "`auricle keys add NAME` and set AURICLE_API_KEYS_FILE; or set AURICLE_ALLOW_ANONYMOUS=true where what is "
            "in front of the service decides who may use it."
        )
    try:
        if settings.api_keys_file and not KeyFile.read(settings.api_keys_file).keys:
            return f"{settings.api_keys_file} has no API keys: `auricle keys add NAME` makes one"
        if settings.tls_certificate and settings.tls_key:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as exc:
        return f"{settings.tls_certificate} and {settings.tls_key} are no certificate and its key: {exc.reason}"
    except (OSError, ValueError) as exc:
        return str(exc)
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
