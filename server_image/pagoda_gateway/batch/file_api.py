"""`/v1/files`: files of a tenant, for batches."""

import logging

from aiohttp import web

from pagoda_gateway.batch.api import Desk, read_limit
from pagoda_gateway.batch.files import FileRecord, Files
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.store import StoreError
from pagoda_gateway.batch.upload import Uploads, invalid
from pagoda_gateway.body import ask_for_nothing
from pagoda_gateway.json_answers import build_json

log = logging.getLogger(__name__)

LIST_LIMIT = 10_000
PURPOSES = ("batch", "batch_output")
FILES, FILE, CONTENT = "/v1/files", "/v1/files/{file_id}", "/v1/files/{file_id}/content"


class FileApi:
    def __init__(self, files: Files, uploads: Uploads, register: Register, metrics: BatchMetrics) -> None:
        self._files = files
        self._uploads = uploads
        self._register = register
        self._metrics = metrics

    def add_routes(self, router: web.UrlDispatcher, desk: Desk) -> None:
        router.add_post(FILES, desk.wrap(FILES, self._create), expect_handler=ask_for_nothing)
        router.add_get(FILES, desk.wrap(FILES, self._list), allow_head=False)
        router.add_get(FILE, desk.wrap(FILE, self._show), allow_head=False)
        router.add_delete(FILE, desk.wrap(FILE, self._delete))
        router.add_get(CONTENT, desk.wrap(CONTENT, self._read), allow_head=False)

    async def _create(self, request: web.Request, tenant: str) -> web.StreamResponse:
        if request.content_type != "multipart/form-data":
            message = "The body is not a form: send multipart/form-data with the parts purpose and file."
            raise invalid(message, code="bad_form")
        record = await self._uploads.take(request, tenant)
        self._metrics.count_file("uploaded")
        return build_json(record)

    async def _list(self, request: web.Request, tenant: str) -> web.StreamResponse:
        order, purpose = request.query.get("order", "desc"), request.query.get("purpose")
        if order not in ("asc", "desc"):
            raise invalid(f"order is {order[:32]!r}: give 'asc' or 'desc'.", "order")
        if purpose is not None and purpose not in PURPOSES:
            raise invalid(f"purpose is {purpose[:32]!r}: give {' or '.join(map(repr, PURPOSES))}.", "purpose")
        limit = read_limit(request, default=LIST_LIMIT, most=LIST_LIMIT)
        after = request.query.get("after")
        page = await self._files.list(tenant, after=after, limit=limit, newest_first=order == "desc", purpose=purpose)
        return build_json(build_page(list(page.items), has_more=page.has_more))

    async def _show(self, request: web.Request, tenant: str) -> web.StreamResponse:
        return build_json(await self._find(request, tenant))

    async def _delete(self, request: web.Request, tenant: str) -> web.StreamResponse:
        record = await self._find(request, tenant)
        if user := await self._register.find_user_of(tenant, record.id):
            message = f"{record.id} is the input of {user}, which is not at its end: cancel that batch first."
            raise invalid(message, "file_id", code="file_in_use", status=409)
        await self._files.delete(tenant, record.id)
        self._metrics.count_file("deleted")
        return build_json({"id": record.id, "object": "file", "deleted": True})

    async def _read(self, request: web.Request, tenant: str) -> web.StreamResponse:
        record = await self._find(request, tenant)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = record.bytes
        pieces = self._files.read(tenant, record)
        first = await anext(pieces, b"")  # NB: a store that fails is told by a status, while there is none yet
        try:
            await response.prepare(request)
            await response.write(first)
            async for piece in pieces:
                await response.write(piece)
            await response.write_eof()
        except StoreError as error:
            log.warning("a file is cut off, for the store failed error=%s", error)
            if request.transport is not None:
                request.transport.abort()
        except OSError:
            pass  # the client left
        return response

    async def _find(self, request: web.Request, tenant: str) -> FileRecord:
        file_id = request.match_info["file_id"]
        record = await self._files.find(tenant, file_id)
        if record is None:
            raise invalid(f"No such file: {file_id[:64]!r}.", "file_id", code="not_found", status=404)
        return record


def build_page(items: list[FileRecord], *, has_more: bool) -> dict[str, object]:
    ids = [item.id for item in items]
    return {
        "object": "list",
        "data": items,
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": has_more,
    }
