"""`/v1/batches`: batches of a tenant."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from pagoda_gateway.batch import names
from pagoda_gateway.batch.api import Desk, read_limit
from pagoda_gateway.batch.call import Server
from pagoda_gateway.batch.files import Files
from pagoda_gateway.batch.limits import ACTIVE_BATCHES, EXPIRY_SECONDS, KEPT_SECONDS, WINDOW_SECONDS
from pagoda_gateway.batch.records import Order, Progress, render_batch
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.upload import invalid
from pagoda_gateway.body import ask_for_nothing
from pagoda_gateway.errors import Refusal
from pagoda_gateway.json_answers import build_json
from pagoda_gateway.paths import GENERATION_PATHS

LIST_LIMIT = 100
DEFAULT_LIMIT = 20
BATCHES, BATCH, CANCEL = "/v1/batches", "/v1/batches/{batch_id}", "/v1/batches/{batch_id}/cancel"
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
METADATA_LIMIT, KEY_LIMIT, VALUE_LIMIT = 16, 64, 512
RETRY_SECONDS = 60


class _Expiry(msgspec.Struct):
    anchor: str
    seconds: int


class _Request(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: _Expiry | None = None


class BatchApi:
    def __init__(
        self,
        files: Files,
        register: Register,
        server: Server,
        *,
        on_change: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        """`on_change` is told of each batch that is made or to be cancelled."""
        self._files = files
        self._register = register
        self._server = server
        self._on_change = on_change
        self._now = now

    def add_routes(self, router: web.UrlDispatcher, desk: Desk) -> None:
        async def create(request: web.Request, tenant: str) -> web.StreamResponse:
            return await self._create(await desk.read_json(request, tenant, _Request), tenant)

        router.add_post(BATCHES, desk.wrap(BATCHES, create), expect_handler=ask_for_nothing)
        router.add_get(BATCHES, desk.wrap(BATCHES, self._list), allow_head=False)
        router.add_get(BATCH, desk.wrap(BATCH, self._show), allow_head=False)
        router.add_post(CANCEL, desk.wrap(CANCEL, self._cancel), expect_handler=ask_for_nothing)

    async def _create(self, asked: _Request, tenant: str) -> web.StreamResponse:
        check_request(asked)
        await self._check_endpoint(asked.endpoint)
        record = await self._files.find(tenant, asked.input_file_id)
        if record is None or record.purpose != "batch":
            what = "no file of yours" if record is None else f"a file for {record.purpose}"
            message = f"input_file_id {asked.input_file_id[:64]!r} is {what}: upload one with the purpose 'batch'."
            raise invalid(message, "input_file_id", code="file_not_found")
        active = len(await self._register.find_active(tenant))
        if active >= ACTIVE_BATCHES:
            message = f"You have {active} batches that are not at their end, and at most {ACTIVE_BATCHES} may be: wait."
            raise Refusal(429, "batches_full", message, "rate_limit_error", retry_after_seconds=RETRY_SECONDS)
        now = self._now()
        order = Order(
            id=names.build_id("batch", now),
            tenant=tenant,
            endpoint=asked.endpoint,
            input_file_id=record.id,
            created_at=int(now),
            expires_at=int(now) + WINDOW_SECONDS,
            metadata=asked.metadata,
            output_seconds=asked.output_expires_after.seconds if asked.output_expires_after else KEPT_SECONDS,
        )
        await self._register.add(order)
        self._on_change(order.id)
        return build_json(render_batch(order, Progress()))

    async def _check_endpoint(self, endpoint: str) -> None:
        if endpoint in ENDPOINTS and (endpoint in GENERATION_PATHS or await self._server.offers(endpoint)):
            return
        offered = [path for path in ENDPOINTS if path in GENERATION_PATHS or await self._server.offers(path)]
        message = f"endpoint is {endpoint[:64]!r}: give one of {', '.join(offered)}."
        raise invalid(message, "endpoint")

    async def _show(self, request: web.Request, tenant: str) -> web.StreamResponse:
        return build_json(render_batch(*await self._find(request, tenant)))

    async def _list(self, request: web.Request, tenant: str) -> web.StreamResponse:
        limit = read_limit(request, default=DEFAULT_LIMIT, most=LIST_LIMIT)
        page = await self._register.list(tenant, after=request.query.get("after"), limit=limit)
        data: list[dict[str, Any]] = [render_batch(order, progress) for order, progress in page.items]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        more: dict[str, Any] = {"first_id": first, "last_id": last, "has_more": page.has_more}
        return build_json({"object": "list", "data": data, **more})

    async def _cancel(self, request: web.Request, tenant: str) -> web.StreamResponse:
        order, progress = await self._find(request, tenant)
        if progress.has_ended or progress.status == "finalizing":
            message = f"{order.id} is {progress.status}: only a batch that is not at its end can be cancelled."
            raise invalid(message, "batch_id", code="batch_ended", status=409)
        await self._register.cancel(order)
        self._on_change(order.id)
        return build_json(render_batch(*await self._find(request, tenant)))

    async def _find(self, request: web.Request, tenant: str) -> tuple[Order, Progress]:
        batch_id = request.match_info["batch_id"]
        found = await self._register.find(tenant, batch_id)
        if found is None:
            raise invalid(f"No such batch: {batch_id[:64]!r}.", "batch_id", code="not_found", status=404)
        return found


def check_request(asked: _Request) -> None:
    """Raises Refusal."""
    if asked.completion_window != "24h":
        message = f"completion_window is {asked.completion_window[:32]!r}: give '24h', the only one there is."
        raise invalid(message, "completion_window")
    if asked.metadata is not None:
        check_metadata(asked.metadata)
    expiry = asked.output_expires_after
    if expiry is not None:
        least, most = EXPIRY_SECONDS
        if expiry.anchor != "created_at":
            message = f"output_expires_after.anchor is {expiry.anchor[:32]!r}: give 'created_at'."
            raise invalid(message, "output_expires_after.anchor")
        if not least <= expiry.seconds <= most:
            message = f"output_expires_after.seconds is {expiry.seconds}: give a whole number from {least} to {most}."
            raise invalid(message, "output_expires_after.seconds")


def check_metadata(metadata: dict[str, str]) -> None:
    if len(metadata) > METADATA_LIMIT:
        message = f"metadata has {len(metadata)} entries: give at most {METADATA_LIMIT}."
        raise invalid(message, "metadata")
    if any(len(key) > KEY_LIMIT or len(value) > VALUE_LIMIT for key, value in metadata.items()):
        message = f"metadata: give keys of at most {KEY_LIMIT} characters, and values of at most {VALUE_LIMIT}."
        raise invalid(message, "metadata")
