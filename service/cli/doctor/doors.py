"""Who may come in, and where traces go out to."""

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from service.cli.doctor.finding import Finding
from service.cli.serve import exposure
from service.settings import Settings

_PATIENCE_S = 3.0


def check(settings: Settings) -> Iterator[Finding]:
    if reason := exposure(settings):
        yield Finding("error", "access", reason)
    else:
        who = "API keys are asked for" if settings.api_keys_file else "no API keys are asked for"
        yield Finding("ok", "access", f"{settings.host}, {who}")
    if settings.otlp_endpoint:
        yield _collector(settings.otlp_endpoint)


def _collector(endpoint: str) -> Finding:
    if find_spec("opentelemetry.sdk") is None:
        return Finding("error", "traces", "OpenTelemetry is not installed", "pip install 'auricle[otlp]'")
    parts = urlsplit(endpoint)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((str(parts.hostname), port), timeout=_PATIENCE_S).close()
    except OSError as exc:
        advice = (
            "AURICLE_OTLP_ENDPOINT is the collector's OTLP over HTTP, port 4318 by custom; until then spans are lost"
        )
        return Finding("warning", "traces", f"{endpoint}: {exc.strerror or exc}", advice)
    return Finding("ok", "traces", f"to {endpoint}")
