"""What the gateway answers itself: whether it lives and can serve, its figures, its load.

On the admin port too, for at a shared public port any gateway may answer. None of it needs a key, so none of it may
hold more than counts.
"""

from collections.abc import Callable

from aiohttp import web

from pagoda_gateway.drain import Drain
from pagoda_gateway.error_answers import build_error_response
from pagoda_gateway.errors import Refusal
from pagoda_gateway.json_answers import build_json
from pagoda_gateway.load import PodLoad, ServerWatch
from pagoda_gateway.metrics import Metrics
from pagoda_gateway.pulse import Pulse
from pagoda_guard import openmetrics


class Pages:
    def __init__(
        self,
        *,
        metrics: Metrics,
        server: ServerWatch,
        drain: Drain,
        pulse: Pulse,
        read_load: Callable[[], PodLoad | None],
    ) -> None:
        self._metrics = metrics
        self._server = server
        self._drain = drain
        self._pulse = pulse
        self._read_load = read_load

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/health", self.answer_health)
        app.router.add_get("/ready", self.answer_ready)
        app.router.add_get("/metrics", self.answer_metrics)
        app.router.add_get("/load", self.answer_load)

    async def answer_health(self, request: web.Request) -> web.Response:
        if stalled := self._pulse.find_stalled():
            return build_json({"status": "stalled", "loops": stalled}, status=503)
        return build_json({"status": "ok"})

    async def answer_ready(self, request: web.Request) -> web.Response:
        if self._drain.draining:
            return build_json({"ready": False, "reason": "draining"}, status=503)
        ready = self._server.ready()
        return build_json({"ready": True}) if ready else build_json({"ready": False, "reason": "server"}, status=503)

    async def answer_metrics(self, request: web.Request) -> web.Response:
        in_openmetrics = openmetrics.wants_openmetrics(request.headers.get("Accept", ""))
        of_server = await self._server.read_metrics(in_openmetrics=in_openmetrics)
        document = self._metrics.render(server_document=of_server, in_openmetrics=in_openmetrics)
        kind = openmetrics.name_content_type(in_openmetrics=in_openmetrics)
        return web.Response(body=document, headers={"Content-Type": kind})

    async def answer_load(self, request: web.Request) -> web.Response:
        if load := self._read_load():
            return build_json(load)
        refusal = Refusal(503, "load_stale", "The server's figures are too old.", retry_after_seconds=1)
        return build_error_response(refusal)
