"""What the server said of itself lately, and what this pod says of both: the figures the autoscaler lives on.

Stale figures are an error, never zero: a zero would scale a busy model down.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from pagoda_gateway.queue import AdmissionQueue
from pagoda_gateway.upstream import DOCUMENT_LIMIT_BYTES, UpstreamBroken, UpstreamUnreachable, fetch
from pagoda_guard import openmetrics
from pagoda_guard.parsing import Count, Figure, parse_json

log = logging.getLogger(__name__)

LOAD_STALE_SECONDS = 15.0
READY_STALE_SECONDS = 5.0
POLL_TIMEOUT_SECONDS = 3.0
METRICS_TIMEOUT_SECONDS = 2.0
"""Well under Prometheus' own scrape timeout: a server that hangs must not hide the gateway's figures."""
LOAD_LIMIT_BYTES = 64 * 1024
MAX_SLOTS = 1_000_000
"""More rows than any server has: a larger number would be no bound at all."""

_NAME_AND_VALUE = rb"[A-Za-z_:][A-Za-z0-9_:]*+(?:\{[^\r\n]*\})? [^\s]++"
_LINE = rb"(?:#[^\r\n]*|%b(?: -?[0-9]+)?)?\n" % _NAME_AND_VALUE
_DOCUMENT = re.compile(rb"(?:%b)*+" % _LINE)
_EXEMPLAR = rb' # \{[a-z_]+="[0-9a-f]*"(?:,[a-z_]+="[0-9a-f]*")*\} [0-9.e+-]+(?: [0-9.e+-]+)?'
_OPEN_LINE = rb"(?:# (?:HELP|TYPE|UNIT) [^\r\n]*|%b(?:%b)?)\n" % (_NAME_AND_VALUE, _EXEMPLAR)
_OPEN_DOCUMENT = re.compile(rb"(?:%b)*+# EOF\n" % _OPEN_LINE)
OWN_PREFIX = b"pagoda_gateway_"


class ServerLoad(msgspec.Struct, frozen=True, kw_only=True):
    tokens_per_second: Figure
    running: Count
    waiting: Count
    backlog_tokens: Count | Figure
    capacity_tokens_per_second: Figure | None
    max_num_seqs: Annotated[int, msgspec.Meta(ge=1, le=MAX_SLOTS)]
    capacity_source: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class PodLoad(ServerLoad, frozen=True, kw_only=True):
    """The server's fields as it gave them; this queue's are beside them, so that nobody counts a token twice."""

    queued: int
    queued_tokens: int
    demand_tokens_per_second: float
    batch_tokens_per_second: float
    """The part of `tokens_per_second` that is no demand."""


def build_load(
    server: ServerLoad, queue: AdmissionQueue, *, backlog_drain_seconds: float, batch_share: float = 0.0
) -> PodLoad:
    """Returns the pod's figures. `batch_share` is the part of the server's work that batches have."""
    wanted = server.tokens_per_second + server.backlog_tokens / backlog_drain_seconds
    return PodLoad(
        **msgspec.structs.asdict(server),
        queued=queue.queued,
        queued_tokens=queue.queued_tokens,
        demand_tokens_per_second=wanted * (1.0 - batch_share) + queue.queued_tokens / backlog_drain_seconds,
        batch_tokens_per_second=server.tokens_per_second * batch_share,
    )


def is_metrics_document(raw: bytes, *, in_openmetrics: bool = False) -> bool:
    """Returns True for lines that Prometheus can read and that are not named like the gateway's own.

    NB: it ends up in one document with the gateway's figures, and one bad line would lose them all.
    """
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    document = _OPEN_DOCUMENT if in_openmetrics else _DOCUMENT
    return document.fullmatch(raw) is not None and OWN_PREFIX not in raw


class ServerWatch:
    """The server's last `/load` and `/ready`, and how old they are."""

    def __init__(self, socket: Path, *, on_load: Callable[[ServerLoad], None], clock: Callable[[], float]) -> None:
        self._socket = socket
        self._on_load = on_load
        self._clock = clock
        self._load: ServerLoad | None = None
        self._load_at = 0.0
        self._ready_at: float | None = None
        self._failing = False

    def fresh_load(self) -> ServerLoad | None:
        return self._load if self._clock() - self._load_at <= LOAD_STALE_SECONDS else None

    def ready(self) -> bool:
        return self._ready_at is not None and self._clock() - self._ready_at <= READY_STALE_SECONDS

    async def watch(self, poll_seconds: float, after_poll: Callable[[], None]) -> None:
        while True:
            await self.poll()
            after_poll()
            await asyncio.sleep(poll_seconds)

    async def poll(self) -> None:
        try:
            async with asyncio.timeout(POLL_TIMEOUT_SECONDS):
                await self._read_ready()
                await self._read_load()
        except UpstreamUnreachable as error:
            self._ready_at = None
            self._report(str(error))
        except (UpstreamBroken, TimeoutError, ValueError) as error:
            self._report(str(error) or "timed out")
        else:
            self._report(None)

    async def read_metrics(self, *, in_openmetrics: bool = False) -> bytes | None:
        """Returns the server's own document, whole; None when it does not answer in time, or with something else."""
        accept = openmetrics.name_content_type(in_openmetrics=in_openmetrics)
        try:
            async with asyncio.timeout(METRICS_TIMEOUT_SECONDS):
                status, document = await fetch(self._socket, "/metrics", DOCUMENT_LIMIT_BYTES, accept=accept)
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, ValueError):
            return None
        is_whole = status == 200 and is_metrics_document(document, in_openmetrics=in_openmetrics)
        return document if is_whole else None

    async def _read_ready(self) -> None:
        status, _ = await fetch(self._socket, "/ready", LOAD_LIMIT_BYTES)
        self._ready_at = self._clock() if status == 200 else None

    async def _read_load(self) -> None:
        status, body = await fetch(self._socket, "/load", LOAD_LIMIT_BYTES)
        if status != 200:
            raise UpstreamBroken(f"/load answered {status}")
        load = parse_json(body, ServerLoad, limit_bytes=LOAD_LIMIT_BYTES)
        self._load, self._load_at = load, self._clock()
        self._on_load(load)

    def _report(self, failure: str | None) -> None:
        if failure is not None and not self._failing:
            log.warning("server figures cannot be read error=%s", failure)
        elif failure is None and self._failing:
            log.info("server figures are read again")
        self._failing = failure is not None
