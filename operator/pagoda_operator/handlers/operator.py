"""Puts the parts together: watches fill the store and the queue, workers empty it, lists check the watches."""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from pagoda_operator.cluster.client import ApiError, Client, load_api_client
from pagoda_operator.cluster.kinds import OPTIONAL, WATCHED
from pagoda_operator.cluster.lease import LeaderLease
from pagoda_operator.cluster.read import read_all, read_optional_kinds
from pagoda_operator.handlers.health import Health, build_health_app, build_metrics_app
from pagoda_operator.handlers.observe import build_plan_settings
from pagoda_operator.handlers.queue import WorkQueue
from pagoda_operator.handlers.reconcile import Reconciler, show_model
from pagoda_operator.handlers.store import MODEL, Object, Store, owner_of
from pagoda_operator.handlers.watching import watch
from pagoda_operator.metrics import Metrics
from pagoda_operator.metrics_api.serving import MetricsApi
from pagoda_operator.scrape import Scraper, sum_demand
from pagoda_operator.settings import Settings

FIRST_CHECK_SECONDS = 10.0
"""Soon after the start: what was deleted between our list and Kopf's would stay in the store otherwise."""
LOAD_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Operator:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.client = Client(
            load_api_client(settings.workers + 4),
            count=lambda verb, kind, code: self.metrics.api_calls.labels(verb, kind, str(code)).inc(),
            timeout_seconds=settings.request_timeout_seconds,
            threads=settings.workers + 4,
        )
        self.store = Store()
        self.queue = WorkQueue(clock=time.monotonic, jitter=random.random)
        self.scraper = Scraper(port=settings.gateway_port, clock=time.monotonic)
        now = time.monotonic()
        self.health = Health(lease_seen_at=now, lease_written_at=now)
        self.lease = LeaderLease(
            self.client,
            name=settings.lease_name,
            namespace=settings.namespace,
            identity=settings.identity,
            monotonic=time.monotonic,
            wall=time.time,
            on_change=self._on_leader,
        )
        self.metrics_api = MetricsApi(
            self.client,
            settings,
            read_demand=self.read_demand,
            is_leader=lambda: self.lease.is_leader,
            wall=time.time,
        )
        self.served_kinds: frozenset[str] = frozenset()
        self.reconciler = Reconciler(
            store=self.store,
            client=self.client,
            scraper=self.scraper,
            metrics=self.metrics,
            settings=build_plan_settings(settings),
            served_kinds=lambda: self.served_kinds,
            is_leader=lambda: self.lease.is_leader,
            wall=time.time,
        )
        self.metrics.queue_depth.set_function(lambda: self.queue.depth)
        self.metrics.leader.set_function(lambda: float(self.lease.is_leader))

    def observe(self, event_type: str, obj: Object) -> None:
        """One event of a watch."""
        if obj["kind"] == "Lease":
            self.health.lease_seen_at = time.monotonic()
            return
        changed = self.store.remove(obj) if event_type == "DELETED" else self.store.put(obj)
        if changed:
            self._wake(obj)

    async def read_demand(self, namespace: str, name: str) -> float:
        if self.store.get(MODEL, namespace, name) is None:
            raise KeyError(name)
        pods = self.store.pods((namespace, name))
        return sum_demand(pods, await self.scraper.read_loads(pods))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until a part of it ends; then gives the Lease up."""
        runners = [
            await _serve(build_metrics_app(self.metrics), self.settings.metrics_port),
            await _serve(build_health_app(self.health), self.settings.health_port),
        ]
        parts: list[asyncio.Task[None]] = []
        stopping = asyncio.create_task(stop.wait())
        try:
            await self._first_check(stopping)
            if not stop.is_set():
                parts += [asyncio.create_task(part) for part in self._parts(stop)]
                await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._close(runners, [*parts, stopping], stop)

    def _parts(self, stop: asyncio.Event) -> list[Coroutine[Any, Any, None]]:
        parts = [watch(self.settings, self.observe, stop=stop)]
        parts += [self._keep_lease(), self._keep_checking(), self._keep_loads()]
        if self.settings.metrics_api_port:
            parts.append(self.metrics_api.run())
        return [*parts, *(self._work() for _ in range(self.settings.workers))]

    async def _first_check(self, stopping: "asyncio.Task[bool]") -> None:
        """Nothing is planned before all is known."""
        while not stopping.done():
            try:
                await self.check()
                self.health.ready = True
                return
            except ApiError as error:
                logger.warning("waiting for the API server error=%s", error)
                await asyncio.wait([stopping], timeout=2)

    async def check(self) -> None:
        """Compares the store with fresh lists."""
        self.served_kinds = await read_optional_kinds(self.client)
        for kind in (*WATCHED, *(kind for kind in OPTIONAL if kind.full_name in self.served_kinds)):
            known = self.store.ids()
            items = await read_all(self.client, kind, self.settings.watch_namespaces)
            for obj in self.store.merge_list(kind.kind, items, known_before=known):
                self._wake(obj)
        for key in self.store.model_keys():
            self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key, waited = await self.queue.get()
            self.metrics.queue_seconds.observe(waited)
            try:
                with self.metrics.reconcile_seconds.time():
                    again = await self.reconciler.reconcile(key)
            except Exception as error:  # the boundary of this loop: count, back off, go on
                seconds = self.queue.failed(key)
                self._count_error("reconcile", error, namespace=key[0], name=key[1], again_in=f"{seconds:.1f}")
                self.metrics.reconciles.labels("error").inc()
            else:
                self.queue.done(key, requeue_seconds=again)
                self.metrics.reconciles.labels("ok").inc()

    async def _keep_lease(self) -> None:
        def written() -> None:
            self.health.lease_written_at = time.monotonic()

        await self.lease.run(written)

    async def _keep_checking(self) -> None:
        pause = FIRST_CHECK_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = self.settings.resync_seconds
            try:
                await self.check()
            except ApiError as error:
                self._count_error("check", error)

    async def _keep_loads(self) -> None:
        """Keeps the models' series fresh between reconciles."""
        while True:
            await asyncio.sleep(LOAD_SECONDS)
            for key in self.store.model_keys():
                pods = self.store.pods(key)
                loads = await self.scraper.read_loads(pods)
                if (model := self.store.get(MODEL, *key)) is not None:
                    show_model(self.metrics, key, model, self.store.children(key), loads)

    def _wake(self, obj: Object) -> None:
        owner = owner_of(obj)
        for key in self.store.model_keys() if owner is None else [owner]:
            self.queue.add(key)

    def _on_leader(self, leads: bool) -> None:
        if leads:
            self.metrics_api.hurry()
            for key in self.store.model_keys():
                self.queue.add(key)

    def _count_error(self, where: str, error: Exception, **about: str) -> None:
        self.metrics.errors.inc()
        details = " ".join(f"{key}={value}" for key, value in about.items())
        expected = isinstance(error, ApiError)
        logger.error("%s failed %s error=%r", where, details, error, exc_info=None if expected else error)

    async def _close(self, runners: list[web.AppRunner], parts: "list[asyncio.Task[Any]]", stop: asyncio.Event) -> None:
        failed = [part for part in parts if part.done() and not part.cancelled() and part.exception()]
        stop.set()
        for part in parts[1:]:
            part.cancel()
        await asyncio.gather(*parts[1:], return_exceptions=True)
        await self._leave()
        await asyncio.wait(parts, timeout=5)
        await self.metrics_api.close()
        await self.scraper.close()
        for runner in runners:
            await runner.cleanup()
        self.client.close()
        for part in failed:
            raise part.exception() or RuntimeError("a part ended")

    async def _leave(self) -> None:
        """Nobody waits for us: neither the next leader nor whoever deletes a namespace while no operator runs."""
        try:
            if self.settings.metrics_api_port and self.lease.is_leader:
                await self.metrics_api.leave()
            await self.lease.release()
        except ApiError as error:
            logger.warning("not left in order error=%s", error)


async def _serve(app: web.Application, port: int) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
