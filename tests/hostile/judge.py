"""Sends hostile requests to an application and says what is wrong with its answers: a 5xx, silence, or growth."""

import asyncio
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.hostile.corpus import Request

PATIENCE_S = 120.0  # on a busy machine; they take milliseconds


@dataclass(frozen=True)
class Footprint:
    """What a service holds: of its own process, and of those that decode for it."""

    megabytes: float
    descriptors: int
    threads: int

    @classmethod
    def of(cls, app: Any) -> "Footprint":
        pids = [os.getpid(), *app.state.runtime.decoders.pids]
        return cls(
            sum(_resident_mb(pid) for pid in pids),
            sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            threading.active_count(),
        )


async def judge(client: httpx.AsyncClient, requests: Iterable[Request]) -> tuple[dict[int, int], list[str]]:
    """How often each status was answered, and what should not have been."""
    statuses: dict[int, int] = {}
    faults = []
    for request in requests:
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await client.send(request.sent())
        except TimeoutError:
            faults.append(f"{request.name}: no answer in {PATIENCE_S:g} s")
            continue
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        if answer.status_code >= 500:
            faults.append(f"{request.name}: {answer.status_code} {answer.text[:200]}")
        elif answer.status_code >= 400 and answer.headers["content-type"] != "application/problem+json":
            faults.append(f"{request.name}: {answer.status_code} is no problem document")
    return statuses, faults


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)
