"""All the servers: which of them answer, which one takes the next request."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from service.backends.base import Observer
from service.backends.triton.server import Server
from service.repository import ModelConfig

logger = logging.getLogger(__name__)

CHECK_S = 1.0  # how often a server is asked whether it answers
RECOVERY_S = 0.5  # the same of one that does not


class Fleet:
    """Watches its servers, each in a task of its own, and ejects those that do not answer until they do again.

    Requests are not what this is tried with: a server that failed one is asked at once whether it lives. One that
    accepts connections and never answers is found in the same way, within three seconds, and what was sent to it is
    handed back to be sent to another one.
    """

    def __init__(self, servers: Sequence[Server], poll_s: float, observer: Observer) -> None:
        """`poll_s`: how often new versions of models are looked for; 0: only when a server comes up."""
        self.models: Mapping[str, ModelConfig] = {}
        self._servers = servers
        self._poll_s = poll_s
        self._observer = observer
        self._watches: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when each server was asked once."""
        await asyncio.gather(*(self._check(server, survey=True) for server in self._servers))
        self._watches = [asyncio.create_task(self._watch(server)) for server in self._servers]

    async def close(self) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.cancel()
        if watches:
            await asyncio.wait(watches)
        for server in self._servers:
            server.mark(up=False)
            await server.close()

    def choose(self, config: ModelConfig, tried: Collection[Server] = ()) -> Server | None:
        """Of the servers that have this version: one that was not tried, is not in doubt, and has least of ours."""
        able = [server for server in self._servers if server.up and server.serves(config)]
        return min(able, key=lambda s: (s in tried, s.doubt.is_set(), s.outstanding), default=None)

    async def learn(self, model: str) -> bool:
        """Whether any server that answers has `model` ready, and its configuration."""
        up = [server for server in self._servers if server.up]
        ready = await asyncio.gather(*(server.learn(model) for server in up), return_exceptions=True)
        for server, outcome in zip(up, ready, strict=True):
            if isinstance(outcome, BaseException):
                logger.warning("Triton server %s, model %s: %s", server.address, model, outcome)
        self._agree()
        return True in ready

    @property
    def reachable(self) -> bool:
        return any(server.up for server in self._servers)

    async def _watch(self, server: Server) -> None:
        """Runs until close. Nothing that a server does ends this loop."""
        clock = asyncio.get_running_loop().time
        surveyed = clock()
        while True:
            server.doubt.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S if server.up else RECOVERY_S):
                    await server.doubt.wait()
            due = self._poll_s > 0 and clock() >= surveyed + self._poll_s
            await self._check(server, survey=due)
            if due:
                surveyed = clock()

    async def _check(self, server: Server, *, survey: bool) -> None:
        """Never raises: a server that nobody watches any more would not be taken back."""
        try:
            alive = await server.answers()
            if alive and (survey or not server.up):
                await server.survey(self.models)
            self._judge(server, alive=alive)
        except Exception as exc:  # noqa: BLE001  it went away in the middle, or says what nobody expects
            logger.warning("Triton server %s: %s", server.address, exc)  # the next check says which

    def _judge(self, server: Server, *, alive: bool) -> None:
        if not alive:
            self._eject(server)
            return
        if not server.up:
            logger.info("Triton server %s is used", server.address)
            server.mark(up=True)
        self._agree()

    def _eject(self, server: Server) -> None:
        if server.up:
            server.mark(up=False)
            self._observer.on_ejected(server.address)
            logger.warning("Triton server %s does not answer and is passed over", server.address)
        if self.reachable:  # else what it has may still be answered in time, and no other server would
            server.abandon()
            self._agree()

    def _agree(self) -> None:
        """Of each model the version that most servers have, of equally many the newest, so that all answers are of one.

        While no server answers, what they had is remembered.
        """
        if not self.reachable:
            return
        configs = [config for server in self._servers if server.up for config in server.configs.values()]
        models = {}
        for name in sorted({config.name for config in configs}):
            candidates = [config for config in configs if config.name == name]
            models[name] = max(candidates, key=lambda config: (candidates.count(config), config.version))
            self._report(models[name])
        self.models = models

    def _report(self, config: ModelConfig) -> None:
        known = self.models.get(config.name)
        same = known is not None and (known.version, known.parameters) == (config.version, config.parameters)
        if not same and config.version is not None:
            logger.info("model %s is served in version %d", config.name, config.version)
            self._observer.on_reload(config.name, config.version, "loaded")
