"""Who may use the service, and how much of it: asked before any of a request's body is read."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from service.errors import Overloaded, RateLimited, StorageFull, Unauthorized
from service.settings import Settings
from service.web.deps import RuntimeDep
from service.web.keys import Key, Keys
from service.web.problems import responses

REFUSALS = responses(
    *(Unauthorized, HTTPStatus.FORBIDDEN, RateLimited, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    *(Overloaded, StorageFull),
)
SECURITY = {
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key that `auricle keys add` made; needed where the service was told to ask for keys.",
    }
}


async def access(connection: HTTPConnection, runtime: RuntimeDep) -> AsyncIterator[None]:
    """Dependency of every route but probes, metrics and documentation; their key's name is `scope["auricle.key"]`.

    Raises Unauthorized, RateLimited, Overloaded, and 403 for a web page that may not call the service.
    """
    if runtime.keys is None:
        check_host(connection, runtime.settings)
        check_origin(connection, runtime.settings)
        runtime.admission.check(None)
        yield
        return
    key = identify(connection, runtime.keys)
    connection.scope["auricle.key"] = key.name
    settings = runtime.settings
    per_minute = key.rate_limit or settings.rate_limit
    at_once = key.max_concurrent_requests or settings.max_concurrent_requests
    with runtime.limits.enter(key.name, per_minute, at_once):
        runtime.admission.check(key.name)
        yield


def identify(connection: HTTPConnection, keys: Keys) -> Key:
    """The key of `Authorization: Bearer <key>`, as OpenAI's clients send it. Raises Unauthorized."""
    scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("send an API key: Authorization: Bearer <key>")
    key = keys.find(secret.strip())
    if key is None:
        raise Unauthorized("this API key is not known here, or not any more")
    return key


def check_host(connection: HTTPConnection, settings: Settings) -> None:
    """Raises 403 for a name from the Internet, where only this machine is to reach the service and no key is asked for.

    A page may have its own name lead to 127.0.0.1 and is then at home here (DNS rebinding). A name without a dot is of
    the local network, and an address has none.
    """
    name = connection.url.hostname or ""
    if settings.allow_anonymous or "." not in name or name.endswith(".localhost") or name == settings.host:
        return
    try:
        ip_address(name)
    except ValueError:
        detail = f"{name} is no name of this service: ask for API keys, or set AURICLE_ALLOW_ANONYMOUS=true."
        raise HTTPException(403, detail) from None


def check_origin(connection: HTTPConnection, settings: Settings) -> None:
    """Raises 403 for pages of other sites. Without keys they could act as the person who has them open in a browser.

    Browsers ask no leave for a plain POST nor for a WebSocket, and always say whose page it is that sends one.
    """
    origin = connection.headers.get("origin")
    allowed = settings.cors_origins
    if origin is None or "*" in allowed or origin in allowed:
        return
    if urlsplit(origin).netloc != connection.headers.get("host"):
        raise HTTPException(403, "Pages of this origin may not call the service: AURICLE_CORS_ORIGINS says which may.")
