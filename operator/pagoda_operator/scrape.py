"""Asks the pods of a ModelDeployment what they serve. A pod that does not answer is missing, never zero."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from pagoda_operator.plan.pods import is_ready

TIMEOUT_SECONDS = 2.0
FRESH_SECONDS = 2.0

logger = logging.getLogger(__name__)


class LoadUnknownError(Exception):
    """The load of a ModelDeployment cannot be told; the message says why."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one pod's gateway says."""

    tokens_per_second: float
    demand_tokens_per_second: float
    capacity_tokens_per_second: float | None
    capacity_source: str
    backlog_tokens: float
    running: int
    waiting: int
    queued: int


def parse_load(raw: Mapping[str, Any]) -> Load:
    """Raises KeyError, TypeError or ValueError for an answer that lacks a figure."""
    capacity = raw.get("capacity_tokens_per_second")
    return Load(
        tokens_per_second=float(raw["tokens_per_second"]),
        demand_tokens_per_second=float(raw["demand_tokens_per_second"]),
        capacity_tokens_per_second=None if capacity is None else float(capacity),
        capacity_source=str(raw.get("capacity_source") or ""),
        backlog_tokens=float(raw.get("backlog_tokens") or 0),
        running=int(raw.get("running") or 0),
        waiting=int(raw.get("waiting") or 0),
        queued=int(raw.get("queued") or 0),
    )


def sum_demand(pods: Sequence[Mapping[str, Any]], loads: Mapping[str, Load]) -> float:
    """Tokens a second that all ready pods are asked for. Raises LoadUnknownError rather than guess."""
    ready = [pod["metadata"]["name"] for pod in pods if is_ready(pod)]
    if not ready:
        raise LoadUnknownError("no pod is ready")
    missing = [name for name in ready if name not in loads]
    if missing:
        raise LoadUnknownError(f"no fresh load from ready pods: {', '.join(sorted(missing))}")
    return sum(loads[name].demand_tokens_per_second for name in ready)


class Scraper:
    def __init__(self, *, port: int, clock: Callable[[], float]) -> None:
        self._port, self._clock = port, clock
        self._session: aiohttp.ClientSession | None = None
        self._seen: dict[str, tuple[float, asyncio.Task[Load | None]]] = {}

    async def read_loads(self, pods: Sequence[Mapping[str, Any]]) -> dict[str, Load]:
        """By pod name, of the ready pods that answered. Answers are shared for two seconds."""
        self._drop_old()
        ready = [pod for pod in pods if is_ready(pod) and pod.get("status", {}).get("podIP")]
        answers = await asyncio.gather(*(asyncio.shield(self._read(pod)) for pod in ready))
        pairs = zip(ready, answers, strict=True)
        return {pod["metadata"]["name"]: load for pod, load in pairs if load is not None}

    def _read(self, pod: Mapping[str, Any]) -> asyncio.Task[Load | None]:
        uid = pod["metadata"]["uid"]
        if uid not in self._seen:
            self._seen[uid] = self._clock(), asyncio.create_task(self._fetch(pod["status"]["podIP"]))
        return self._seen[uid][1]

    async def _fetch(self, ip: str) -> Load | None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._session.get(f"http://{host}:{self._port}/load") as answer:
                answer.raise_for_status()
                return parse_load(await answer.json())
        except (aiohttp.ClientError, TimeoutError, KeyError, TypeError, ValueError) as error:
            logger.warning("load not read ip=%s error=%r", ip, error)
            return None

    def _drop_old(self) -> None:
        now = self._clock()
        self._seen = {uid: seen for uid, seen in self._seen.items() if now - seen[0] < FRESH_SECONDS}

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
