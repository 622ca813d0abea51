"""Liveness that proves progress: our own Lease is renewed every few seconds, so a watch that lives must show it.

NB: a standby sees the leader's renewals, so the proof holds on every replica while anyone leads.
"""

from dataclasses import dataclass

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from pagoda_operator.metrics import Metrics

WATCH_LIMIT_SECONDS = 60.0


@dataclass(slots=True)
class Health:
    lease_seen_at: float
    lease_written_at: float
    ready: bool = False

    def why_dead(self) -> str | None:
        """None while alive. A Lease that nobody could write proves nothing about the watch."""
        behind = self.lease_written_at - self.lease_seen_at
        if behind > WATCH_LIMIT_SECONDS:
            return f"the Lease was renewed for {behind:.0f} s and the watch did not show it"
        return None


def build_health_app(health: Health) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        why = health.why_dead()
        return web.Response(text=why or "ok", status=503 if why else 200)

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok" if health.ready else "starting", status=200 if health.ready else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def build_metrics_app(metrics: Metrics) -> web.Application:
    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/metrics", scrape)
    return app
