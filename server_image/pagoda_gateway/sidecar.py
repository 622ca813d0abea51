"""The queue sidecar: one server behind it on a unix socket, two listeners in front, and the parts put together.

Only wiring lives here. The admin listener must never be reachable from outside the pod.
"""

import asyncio
import logging
import math
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from pagoda_gateway.admission import Admission
from pagoda_gateway.auth import KeyRing
from pagoda_gateway.body import ask_for_nothing
from pagoda_gateway.chat_page import ChatPage
from pagoda_gateway.cors import Cors
from pagoda_gateway.drain import Drain
from pagoda_gateway.error_answers import build_error_response
from pagoda_gateway.errors import Refusal
from pagoda_gateway.gate import Gate
from pagoda_gateway.json_answers import build_json
from pagoda_gateway.limits import (
    build_admin_policy,
    build_bodies,
    build_connections,
    build_public_policy,
    build_responses,
)
from pagoda_gateway.listening import Listening
from pagoda_gateway.load import PodLoad, ServerLoad, ServerWatch, build_load
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.pages import Pages
from pagoda_gateway.paths import ROOT_PATHS
from pagoda_gateway.pulse import Pulse
from pagoda_gateway.queue import AdmissionQueue
from pagoda_gateway.relay import Parts, Relay
from pagoda_gateway.settings import InheritedSocket, Settings
from pagoda_gateway.shared_listener import build_shared_listener
from pagoda_guard.tasks import Tasks

if TYPE_CHECKING:
    from pagoda_gateway.batch.service import Batches
    from pagoda_gateway.tracing import Tracer

log = logging.getLogger(__name__)

DEFAULT_DRAIN_SECONDS = 30.0
SLOTS_OF_AN_UNKNOWN_SERVER = 16
"""The slots of a server that is ready but says nothing of its size that can be read."""


class Sidecar:
    def __init__(
        self, settings: Settings, *, clock: Callable[[], float] = time.monotonic, tracer: "Tracer | None" = None
    ) -> None:
        """Takes what traces requests, instead of what the settings say of it."""
        self._settings = settings
        self._clock = clock
        self.queue = AdmissionQueue(
            max_queued=settings.max_queued,
            max_queued_tokens=settings.max_queued_tokens,
            slots=settings.max_running,
            clock=clock,
        )
        self.gate = Gate(self.queue)
        self.keys = KeyRing(settings.api_keys_dir)
        self.server = ServerWatch(settings.upstream, on_load=self._take_load, clock=clock)
        self.metrics = Metrics(
            namespace=settings.namespace, model_deployment=settings.model_deployment, model_name=settings.model_name
        )
        self._tracer = tracer or self._open_tracer()
        self._pulse = Pulse(clock=clock)
        self._tasks = Tasks(count=self.metrics.count_task_failure)
        self.bodies = build_bodies(settings, self.metrics)
        self.connections = build_connections(settings, self.metrics, clock=clock)
        listen = settings.listen
        self._shared = (
            build_shared_listener(listen.fd, self.connections) if isinstance(listen, InheritedSocket) else None
        )
        self.drain = Drain(grace_seconds=self._find_grace_seconds(), clock=clock)
        self.batches = self._open_batches()
        self._add_gauges()
        self._responses = build_responses(settings, self.metrics, clock=clock)
        self._pages = Pages(
            metrics=self.metrics, server=self.server, drain=self.drain, pulse=self._pulse, read_load=self._load
        )
        self._listening = [
            Listening(self._build_public(), build_public_policy(settings, self.connections, self.metrics, clock=clock)),
            Listening(self._build_admin(), build_admin_policy(settings, self.metrics, clock=clock)),
        ]
        self.port = 0
        self.admin_port = 0

    def _open_tracer(self) -> "Tracer | None":
        if not self._settings.tracing_endpoint:
            return None
        from pagoda_gateway.tracing import Tracer  # NB: OpenTelemetry costs memory and a second of the start

        return Tracer.open(self._settings, self.metrics.count_spans)

    def _open_batches(self) -> "Batches | None":
        if not self._settings.batch_store:
            return None
        from pagoda_gateway.batch.service import Batches, Pod

        pod = Pod(self.queue, self.server, self.keys, self.drain, self.bodies, self.metrics, self._tasks, self._clock)
        return Batches.open(self._settings, pod)

    def _find_grace_seconds(self) -> float:
        settings = self._settings
        longest = math.inf if self._shared is None else settings.shared_drain_grace_seconds
        return min(settings.drain_grace_seconds, longest)

    def _take_load(self, load: ServerLoad) -> None:
        if not self._settings.max_running:
            self.gate.resize(load.max_num_seqs)

    def _add_gauges(self) -> None:
        self.metrics.gauge("queued_requests", "Requests that wait in the gateway", lambda: self.queue.queued)
        self.metrics.gauge(
            "queued_sequences", "Sequences (prompts x n) that wait in the gateway", lambda: self.queue.queued_sequences
        )
        self.metrics.gauge(
            "queued_tokens",
            "Estimated tokens of prompts and answers that wait in the gateway",
            lambda: self.queue.queued_tokens,
        )
        self.metrics.gauge("running_requests", "Requests at the server", lambda: self.queue.running)
        self.metrics.gauge(
            "running_sequences", "Slots of the server that are taken", lambda: self.queue.running_sequences
        )
        self.metrics.gauge(
            "demand_tokens_per_second",
            "Tokens per second that are wanted: served, and the backlog's share; NaN when stale",
            self._demand,
        )
        self.metrics.gauge("draining", "1 while this replica drains", lambda: self.drain.draining)
        self._note_keys()

    def _note_keys(self) -> None:
        for reason, count in self.keys.count_refused().items():
            self.metrics.set_keys_refused(reason, count)

    def _demand(self) -> float:
        load = self._load()
        return math.nan if load is None else load.demand_tokens_per_second

    def _load(self) -> PodLoad | None:
        server = self.server.fresh_load()
        if server is None:
            return None
        share = self.batches.find_share() if self.batches is not None else 0.0
        drain_seconds = self._settings.backlog_drain_seconds
        return build_load(server, self.queue, backlog_drain_seconds=drain_seconds, batch_share=share)

    async def start(self) -> None:
        public, admin = self._listening
        self.port = await public.start(self._settings.listen, self._shared)
        self.admin_port = await admin.start(self._settings.admin)
        settings = self._settings
        poll_seconds = settings.shared_poll_seconds if self._shared is not None else settings.poll_seconds
        self._pulse.beat("server_watch")
        self._tasks.keep("server_watch", lambda: self.server.watch(poll_seconds, self._after_poll))
        if settings.api_keys_dir is not None:
            self._pulse.beat("keys_watch")
            self._tasks.keep("keys_watch", lambda: self.keys.watch(settings.keys_poll_seconds, self._after_keys))
        if self.batches is not None:
            self.batches.start()
        log.info("gateway listens port=%d admin_port=%d", self.port, self.admin_port)

    async def stop(self) -> None:
        await self._tasks.stop()
        if self._shared is not None:
            self._shared.close()
        for listening in self._listening:
            await listening.stop()
        if self.batches is not None:
            self.batches.close()
        if self._tracer is not None:
            await asyncio.to_thread(self._tracer.close)

    def _after_poll(self) -> None:
        """Follows what the server says. NB: that its size is unknown is no reason to turn everyone away."""
        if self.server.ready() and not self.queue.slots:
            self.gate.resize(SLOTS_OF_AN_UNKNOWN_SERVER)
        self._follow_readiness()
        self._responses.sweep()
        self._pulse.beat("server_watch")

    def _after_keys(self) -> None:
        self._note_keys()
        self._pulse.beat("keys_watch")

    def _follow_readiness(self) -> None:
        """Takes connections from a shared socket only while this gateway can serve; else it gives up the idle ones."""
        if self._shared is None:
            return
        if self.drain.draining:
            if not self.drain.grace_left_seconds():
                self.connections.close_idle()
        elif self.server.ready():
            self._shared.resume()
        else:
            self._shared.pause()
            self.connections.close_idle()

    def _build_public(self) -> web.Application:
        cors = Cors(self._settings.cors_allowed_origins)
        app = web.Application(middlewares=[cors.answer_preflight] if cors.origins else [])
        admission = Admission(self._settings, self.gate, self.metrics, self._tasks, clock=self._clock)
        relay = Relay(
            Parts(
                settings=self._settings,
                admission=admission,
                keys=self.keys,
                drain=self.drain,
                metrics=self.metrics,
                bodies=self.bodies,
                responses=self._responses,
                clock=self._clock,
                begin_trace=None if self._tracer is None else self._tracer.begin,
            )
        )
        self._pages.add_to(app)
        if self.batches is not None:
            self.batches.add_routes(app.router)
        for path in ("/v1/{tail:.*}", *ROOT_PATHS):
            app.router.add_route("*", path, relay.__call__, expect_handler=ask_for_nothing)
        if self._settings.chat_page:
            app.router.add_get("/", ChatPage.load().answer)
        return app

    def _build_admin(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/drain", self._answer_drain)
        self._pages.add_to(app)
        return app

    async def _answer_drain(self, request: web.Request) -> web.Response:
        try:
            seconds = float(request.query.get("seconds", DEFAULT_DRAIN_SECONDS))
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < math.inf:
            message = f"seconds is {request.query['seconds']!r}: give a number of 0 or more."
            return build_error_response(Refusal(400, "bad_seconds", message, "invalid_request_error"))
        self.begin_drain()
        try:
            async with asyncio.timeout(seconds):
                await self.drain.wait_empty()
        except TimeoutError:
            self.drain.end()
        if not self.drain.in_flight:
            return build_json({"drained": True})
        left = {"queued": self.queue.queued, "running": self.queue.running, "in_flight": self.drain.in_flight}
        return build_json({"drained": False, **left}, status=504)

    def begin_drain(self) -> None:
        """Begins to leave.

        NB: a shared port is left at once, as no endpoint list lags behind; its clients have the grace to leave.
        """
        if self.drain.draining:
            return
        log.info("drain begins in_flight=%d queued=%d", self.drain.in_flight, self.queue.queued)
        self.drain.begin()
        if self._shared is not None:
            self._shared.close()


async def run_sidecar(settings: Settings) -> None:
    """Serves until a signal: the first drains and then ends the process, the second ends it at once."""
    sidecar = Sidecar(settings)
    signalled = asyncio.Event()

    def take_signal() -> None:
        if signalled.is_set():
            os._exit(1)
        signalled.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, take_signal)
    await sidecar.start()
    try:
        await signalled.wait()
        sidecar.begin_drain()
        await sidecar.drain.wait_empty()
    finally:
        await sidecar.stop()
