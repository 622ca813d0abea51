"""Liveness that proves progress: our own Lease is renewed every few seconds, so a watch that lives must show it.

NB: a standby sees the leader's renewals, so the proof holds on every replica while anyone leads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from pagoda_operator.controller.queue import Key
from pagoda_operator.metrics import Metrics
from pagoda_operator.ports import build_app, refuse_in_text

WATCH_SILENT_SECONDS = 20.0
"""After which the watch is begun again; what began so lately is given the time."""
WATCH_LIMIT_SECONDS = 60.0
WORK_LIMIT_SECONDS = 600.0
"""The limit of one reconcile: every call in it has a limit of its own, so one that takes longer hangs."""

PAGE_SECONDS = 1.0
"""How long a page of metrics is shown again: with many models each takes tens of milliseconds to make."""


@dataclass(slots=True)
class Health:
    lease_seen_at: float
    lease_written_at: float
    ready: bool = False
    working: dict[Key, float] = field(default_factory=dict)
    """The models that are worked on, and since when."""

    @contextmanager
    def at_work(self, key: Key, clock: Callable[[], float]) -> Iterator[None]:
        self.working[key] = clock()
        try:
            yield
        finally:
            del self.working[key]

    def is_watch_silent(self, began: float, now: float) -> bool:
        """Returns whether a watch that began then should have shown the Lease by now."""
        return min(self._seconds_behind, now - began) > WATCH_SILENT_SECONDS

    @property
    def _seconds_behind(self) -> float:
        return self.lease_written_at - self.lease_seen_at

    def why_dead(self, now: float) -> str | None:
        """Returns why the operator should be restarted; None while it is alive.

        NB: a Lease that nobody could write proves nothing about the watch.
        """
        behind = self._seconds_behind
        if behind > WATCH_LIMIT_SECONDS:
            return f"the Lease was renewed for {behind:.0f} s and the watch did not show it"
        for (namespace, name), since in self.working.items():
            if now - since > WORK_LIMIT_SECONDS:
                return f"the reconcile of {namespace}/{name} has taken {now - since:.0f} s"
        return None


def build_health_app(health: Health, clock: Callable[[], float], count_error: Callable[[], None]) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        why = health.why_dead(clock())
        return web.Response(text=why or "ok", status=503 if why else 200)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok" if health.ready else "starting", status=200 if health.ready else 503)

    app = build_app(refuse_in_text, count_error)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def build_metrics_app(metrics: Metrics, clock: Callable[[], float]) -> web.Application:
    page, made_at = b"", -PAGE_SECONDS

    async def scrape(_: web.Request) -> web.Response:
        nonlocal page, made_at
        if clock() - made_at >= PAGE_SECONDS:
            page, made_at = generate_latest(metrics.registry), clock()
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = build_app(refuse_in_text, metrics.errors.inc)
    app.router.add_get("/metrics", scrape)
    return app
