"""uvicorn around the application: says when it is ready, and ends without breaking off what it has begun."""

import asyncio
import gc
import logging
import socket
import sys
from functools import partial
from typing import Any

import uvicorn

from service.app import create_app
from service.repository import RepositoryError
from service.settings import Settings
from service.web import connections
from service.web.deps import Runtime

logger = logging.getLogger("auricle.server")

_WEBSOCKET_MESSAGE_BYTES = 1 << 20
_WEBSOCKET_QUEUE = 8  # messages that wait per stream before its socket is no longer read
_TICK_S = 0.1
_SWITCH_S = 0.001
_PARTING_S = 1  # for what is cut off: to be told so


def _calm() -> None:
    """What would hold up the event loop: the search for garbage in all that stays, which takes a tenth of a second, and
    threads that keep the interpreter for 5 ms each time."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_S)


class Server(uvicorn.Server):
    """Says where it listens, once every model can answer; ends if one never will (`failure`)."""

    def __init__(self, settings: Settings) -> None:
        self.failure: RepositoryError | None = None
        self._settings = settings
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
                timeout_graceful_shutdown=_PARTING_S,  # by then `shutdown` has waited as long as it may
                ws_max_size=_WEBSOCKET_MESSAGE_BYTES,
                ws_max_queue=_WEBSOCKET_QUEUE,
                ws_per_message_deflate=False,  # PCM does not shrink, and a small message must stay small
            )
        )

    @property
    def _runtime(self) -> Runtime:
        application: Any = self.config.app
        runtime: Runtime = application.state.runtime
        return runtime

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.config.is_ssl:
            loop: Any = asyncio.get_running_loop()
            # uvicorn leaves a client a minute to begin; until then it is no connection that could be counted
            loop.create_server = partial(loop.create_server, ssl_handshake_timeout=self._settings.header_timeout_s)
        await super().startup(sockets)
        if not self.started:
            return
        loading = self._runtime.started
        while not (loading.done() or self.should_exit):  # probes are answered meanwhile
            await asyncio.wait({loading}, timeout=_TICK_S)
        if self.should_exit:
            return
        if isinstance(error := loading.exception(), RepositoryError):
            self.failure, self.should_exit = error, True
            return
        loading.result()
        self._runtime.decoders.start()
        _calm()
        scheme = "https" if self.config.is_ssl else "http"
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        address = f"[{host}]" if ":" in host else host
        logger.info("Auricle is ready on %s://%s:%d", scheme, address, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Says that it goes, then takes nothing new, then finishes what it has, streams included, while there is time.

        What remains is answered 503; a client that takes no answer is cut off.
        """
        self._runtime.draining.set()
        logger.info("Shutting down")
        if not self.failure:
            await self._wait(self._settings.shutdown_delay_s, until_idle=False)
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            if not isinstance(connection, self.config.ws_protocol_class or ()):  # it would be closed at once
                connection.shutdown()
        await self._wait(self._settings.shutdown_grace_s, until_idle=True)
        await self._cut_off()
        await super().shutdown(sockets)

    async def _wait(self, seconds: float, *, until_idle: bool) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while clock() < end and not self.force_exit and (self.server_state.connections or not until_idle):  # noqa: ASYNC110  uvicorn has no event
            await asyncio.sleep(_TICK_S)

    async def _cut_off(self) -> None:
        if tasks := list(self.server_state.tasks):
            logger.warning("%d requests did not end within %g s", len(tasks), self._settings.shutdown_grace_s)
            for connection in list(self.server_state.connections):
                connection.shutdown()  # tells a stream that the service restarts
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=_PARTING_S)
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
