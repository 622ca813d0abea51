"""Puts the parts together: watches fill the store and the queue, workers empty it, lists check the watches."""

import asyncio
import contextlib
import logging
import random
import time

from aiohttp import web

from pagoda_guard.tasks import TaskEnded, Tasks
from pagoda_operator.cluster.client import ApiError, Client, load_api_client
from pagoda_operator.cluster.lease import LeaderLease
from pagoda_operator.cluster.watch import WatchEnded, watch
from pagoda_operator.controller.check import Checker
from pagoda_operator.controller.handshake_reader import HandshakeReader
from pagoda_operator.controller.health import Health, build_health_app, build_metrics_app
from pagoda_operator.controller.load_reader import LoadReader
from pagoda_operator.controller.observe import build_plan_settings
from pagoda_operator.controller.queue import WorkQueue
from pagoda_operator.controller.reconcile import Reconciler
from pagoda_operator.controller.store import MODEL, Store
from pagoda_operator.kube.objects import Object
from pagoda_operator.metrics import Metrics
from pagoda_operator.metrics_api.serving import MetricsApi
from pagoda_operator.plan.loads import sum_demand
from pagoda_operator.ports import Port
from pagoda_operator.settings import Settings

FIRST_CHECK_SECONDS = 10.0
"""Soon after the start: what was deleted between our list and Kopf's would stay in the store otherwise."""
SERVED_KINDS_SECONDS = 30.0
"""How soon kinds of other projects that are installed later are taken up."""

log = logging.getLogger(__name__)


class Operator:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.tasks = Tasks(count=lambda name: self.metrics.task_failures.labels(name).inc())
        self.client = self._build_client()
        self.store = Store()
        self.queue = WorkQueue(clock=time.monotonic, jitter=random.random)
        self.checker = Checker(self.client, self.store, self.metrics, settings.watch_namespaces, self._wake)
        self.health = Health(lease_seen_at=time.monotonic(), lease_written_at=time.monotonic())
        self.loads = self._build_loads()
        self.handshakes = self._build_handshakes()
        self.lease = self._build_lease()
        self.metrics_api = self._build_metrics_api()
        self.reconciler = self._build_reconciler()
        self._check_now = asyncio.Event()
        self._check_at = time.monotonic() + FIRST_CHECK_SECONDS
        self._watch_stop = asyncio.Event()
        self.metrics.queue_depth.set_function(lambda: self.queue.depth)
        self.metrics.leader.set_function(lambda: float(self.lease.is_leader))

    def _build_client(self) -> Client:
        threads = self.settings.workers + 4
        return Client(
            load_api_client(threads),
            count=lambda verb, kind, code: self.metrics.api_calls.labels(verb, kind, str(code)).inc(),
            timeout_seconds=self.settings.request_timeout_seconds,
            threads=threads,
        )

    def _build_loads(self) -> LoadReader:
        return LoadReader(
            port=self.settings.gateway_port,
            clock=time.monotonic,
            jitter=random.random,
            tasks=self.tasks,
            models=lambda: [(key, self.store.pods(key)) for key in self.store.model_keys()],
            on_news=self.queue.add,
        )

    def _build_handshakes(self) -> HandshakeReader:
        ways_in, leads = self.store.models_with_ingress, lambda: self.lease.is_leader
        return HandshakeReader(time.monotonic, self.tasks, ways_in, leads, on_news=self.queue.add)

    def _build_lease(self) -> LeaderLease:
        return LeaderLease(
            self.client,
            name=self.settings.lease_name,
            namespace=self.settings.namespace,
            identity=self.settings.identity,
            monotonic=time.monotonic,
            wall=time.time,
            on_change=self._on_leader,
        )

    def _build_metrics_api(self) -> MetricsApi:
        return MetricsApi(
            self.client,
            self.settings,
            read_demand=self.read_demand,
            is_leader=lambda: self.lease.is_leader,
            wall=time.time,
            clock=time.monotonic,
            tasks=self.tasks,
            count_error=self.metrics.errors.inc,
            show_expiration=lambda at: self.metrics.certificate_expiration.labels("metrics_api").set(at),
        )

    def _build_reconciler(self) -> Reconciler:
        return Reconciler(
            store=self.store,
            client=self.client,
            loads=self.loads,
            handshake_of=self.handshakes.known,
            metrics=self.metrics,
            settings=build_plan_settings(self.settings),
            served_kinds=lambda: self.checker.served_kinds,
            unread_kinds=lambda: self.checker.unread_kinds,
            is_leader=lambda: self.lease.is_leader,
            wall=time.time,
        )

    def observe(self, event_type: str, obj: Object) -> None:
        """Takes one event of a watch into the store."""
        if obj["kind"] == "Lease":
            self.health.lease_seen_at = time.monotonic()
            return
        if not self.settings.serves(obj["metadata"].get("namespace")):
            return
        if not event_type:  # it is of a list, since Kopf lost its place: what was deleted meanwhile is in no event
            self._check_soon()
        try:
            if self.store.remove(obj) if event_type == "DELETED" else self.store.put(obj):
                self._wake(obj)
        except Exception as error:  # the boundary of one object
            self._count_error("observe failed", error, kind=obj["kind"])

    async def read_demand(self, namespace: str, name: str) -> float:
        if self.store.get(MODEL, namespace, name) is None:
            raise KeyError(name)
        pods = self.store.pods((namespace, name))
        return sum_demand(pods, self.loads.known(pods))

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop`, or raises what ended a part of it that cannot be started again."""
        ports = self._ports()
        try:
            for port in ports:
                await port.start()
            await self._first_check(stop)
            self.tasks.watch("stop", stop.wait())
            if not stop.is_set():
                self._start()
            await self.tasks.wait_failed()
        except TaskEnded:
            if not stop.is_set():
                raise
        finally:
            await self._close(ports, orderly=stop.is_set())

    def _ports(self) -> list[Port]:
        def port(app: web.Application, number: int) -> Port:
            return Port(app, port=number, tasks=self.tasks, clock=time.monotonic)

        return [
            port(build_metrics_app(self.metrics, time.monotonic), self.settings.metrics_port),
            port(build_health_app(self.health, time.monotonic, self.metrics.errors.inc), self.settings.health_port),
        ]

    def _start(self) -> None:
        keep = self.tasks.keep
        keep("watch", self._watch, expected=(WatchEnded,))
        keep("lease", self._keep_lease)
        keep("check", self._keep_checking)
        keep("loads", self.loads.run)
        keep("handshakes", self.handshakes.run)
        keep("series", self.reconciler.keep_series)
        if self.settings.metrics_api_port:
            keep("metrics API", self.metrics_api.run)
        for _ in range(self.settings.workers):
            keep("worker", self._work)

    async def _first_check(self, stop: asyncio.Event) -> None:
        """Waits until all is known that can be known: nothing is planned before."""
        while not stop.is_set():
            try:
                await self._check()
                self.health.ready = True
                return
            except ApiError as error:
                log.warning("waiting for the API server error=%s", error)
                await _wait(stop, 2.0)

    async def _check(self) -> None:
        watched = self.checker.readable
        try:
            await self.checker.check()
        finally:
            if self.checker.readable != watched:
                self._watch_stop.set()  # Kopf begins again, with what may be watched now
        self._wake_all()

    async def _watch(self) -> None:
        while True:
            try:
                await self._watch_on()
            finally:
                self._check_now.set()  # what was deleted in between is in no watch, and a kind may be refused

    async def _watch_on(self) -> None:
        """Watches until other kinds may be watched; raises WatchEnded where the watch fails."""
        self._watch_stop, began = asyncio.Event(), time.monotonic()
        await watch(
            self.settings,
            self.checker.readable,
            self.observe,
            stop=self._watch_stop,
            is_silent=lambda: self.health.is_watch_silent(began, time.monotonic()),
        )

    async def _work(self) -> None:
        while True:
            key, waited = await self.queue.get()
            self.metrics.queue_seconds.observe(waited)
            try:
                with self.metrics.reconcile_seconds.time(), self.health.at_work(key, time.monotonic):
                    again = await self.reconciler.reconcile(key)
            except Exception as error:  # the boundary of one model: count, back off, go on
                seconds = self.queue.failed(key)
                self._count_error("reconcile failed", error, namespace=key[0], name=key[1], again_in=f"{seconds:.1f}")
                self.metrics.reconciles.labels("error").inc()
            else:
                self.queue.done(key, requeue_seconds=again)
                self.metrics.reconciles.labels("ok").inc()
            await asyncio.sleep(0)  # NB: with nothing to write a reconcile never waits, and the Lease has no turn

    async def _keep_lease(self) -> None:
        def written() -> None:
            self.health.lease_written_at = time.monotonic()

        await self.lease.run(written)

    async def _keep_checking(self) -> None:
        while True:
            await _wait(self._check_now, min(SERVED_KINDS_SECONDS, max(0.0, self._check_at - time.monotonic())))
            hurry = self._check_now.is_set()
            self._check_now.clear()
            try:
                if hurry or time.monotonic() >= self._check_at or await self.checker.read_served_kinds():
                    self._check_at = time.monotonic() + self.settings.resync_seconds
                    await self._check()
            except ApiError as error:
                self._check_soon()
                self._count_error("check failed", error)

    def _check_soon(self) -> None:
        self._check_at = min(self._check_at, time.monotonic() + FIRST_CHECK_SECONDS)

    def _wake(self, obj: Object) -> None:
        for key in self.store.concerned_by(obj):
            self.queue.add(key)

    def _wake_all(self) -> None:
        for key in self.store.model_keys():
            self.queue.add(key)

    def _on_leader(self, leads: bool) -> None:
        if leads:
            self.metrics_api.hurry()
            self._wake_all()

    def _count_error(self, message: str, error: Exception, **about: str) -> None:
        self.metrics.errors.inc()
        details = "".join(f" {key}={value}" for key, value in about.items())
        expected = isinstance(error, ApiError)
        log.error(message + "%s error=%r", details, error, exc_info=None if expected else error)

    async def _close(self, ports: list[Port], *, orderly: bool) -> None:
        self._watch_stop.set()
        await self.tasks.stop()
        await self._leave(orderly=orderly)
        await self.metrics_api.close()
        for port in ports:
            await port.close()
        self.client.close()

    async def _leave(self, *, orderly: bool) -> None:
        """Leaves nobody waiting for us: neither the next leader nor whoever deletes a namespace while no operator runs.

        NB: an operator that ends by a fault is started again at once, so its metrics API stays registered.
        """
        try:
            if orderly and self.settings.metrics_api_port and self.lease.is_leader:
                await self.metrics_api.leave()
            await self.lease.release()
        except ApiError as error:
            log.warning("leaving failed error=%s", error)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
