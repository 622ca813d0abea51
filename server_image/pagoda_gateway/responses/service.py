"""The stateful side of `/v1/responses`: goes on from kept answers, keeps new ones, shows and deletes them.

Without a place to keep answers it refuses what would need one, and passes on the rest.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec
from aiohttp import web

from pagoda_gateway.errors import Refusal
from pagoda_gateway.json_answers import build_json, build_written
from pagoda_gateway.responses.capture import Capture, is_stream
from pagoda_gateway.responses.items import build_page, list_output, read_fields, read_text
from pagoda_gateway.responses.question import PREVIOUS, Asked, build_whole, list_conversation, read_asked
from pagoda_gateway.responses.store import Kept, Responses
from pagoda_gateway.upstream import Head
from pagoda_guard.parsing import BadInput

T = TypeVar("T")
ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
ONE = re.compile(r"/v1/responses/([^/]+)(/input_items)?")
LIMIT_BYTES = 1024 * 1024
"""The longest answer that is kept."""
SMALL_BYTES = 64 * 1024
"""Beyond it a body is worked on beside the event loop."""
PAGE_ITEMS = 20
MAX_PAGE_ITEMS = 100
KEPT_STATUSES = ("completed", "incomplete")


def invalid(code: str, message: str, param: str, status: int = 400) -> Refusal:
    return Refusal(status, code, message, "invalid_request_error", param=param)


def name_id(response_id: str) -> str:
    """Returns the id for a message, if it is one: what else a client sent is not repeated."""
    return f" with id '{response_id}'" if ID.fullmatch(response_id) else ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an answer will be kept with. NB: it does not hold the body, which is as long as the conversation."""

    tenant: str
    previous: str | None
    items: tuple[bytes, ...]


class ResponseService:
    def __init__(self, responses: Responses | None, *, max_body_bytes: int) -> None:
        self._responses = responses
        self._max_body_bytes = max_body_bytes

    def sweep(self) -> None:
        """Lets go what nobody has used for so long."""
        if self._responses is not None:
            self._responses.sweep()

    async def prepare(self, tenant: str, body: bytes) -> tuple[bytes, Wanted | None]:
        """Returns the body for the server, and what its answer is kept with if it is wanted. Raises Refusal."""
        asked = await _run(len(body), partial(read_asked, body))
        if self._responses is None:
            if asked.previous is not None:
                message = f"{PREVIOUS} is set, but answers are not kept here; send the whole conversation as input"
                raise invalid("unsupported_parameter", message, PREVIOUS)
            return body, None
        if asked.previous is not None:
            body = await self._make_whole(tenant, asked, asked.previous)
        return body, Wanted(tenant, asked.previous, asked.items) if asked.is_kept else None

    async def _make_whole(self, tenant: str, asked: Asked, previous: str) -> bytes:
        assert self._responses is not None
        chain = self._responses.list_chain(tenant, previous)
        if chain is None:
            message = f"Previous response{name_id(previous)} not found."
            raise invalid("previous_response_not_found", message, PREVIOUS)
        size = sum(kept.size for kept in chain) + sum(map(len, asked.items))
        if size > self._max_body_bytes:
            message = f"The conversation is larger than {self._max_body_bytes} bytes; begin another one."
            raise invalid("body_too_large", message, PREVIOUS, 413)
        return await _run(size, partial(build_whole, asked, chain))

    def begin_capture(self, wanted: Wanted | None, head: Head, *, is_chunked: bool) -> Capture | None:
        """Returns what keeps the answer while it passes, None where it is not to be kept."""
        if self._responses is None or wanted is None or head.status != 200:
            return None
        keep = partial(self._keep, self._responses, wanted)
        return Capture(is_stream=is_stream(head), is_chunked=is_chunked, limit_bytes=LIMIT_BYTES, keep=keep)

    def _keep(self, responses: Responses, wanted: Wanted, response: bytes) -> None:
        try:
            fields = read_fields(response)
            list_output(response)
        except BadInput:
            return
        response_id, status = read_text(fields.get("id")), read_text(fields.get("status"))
        if response_id is None or not ID.fullmatch(response_id) or status not in KEPT_STATUSES:
            return
        previous = msgspec.Raw(msgspec.json.encode(wanted.previous))
        body = msgspec.json.encode({**fields, PREVIOUS: previous, "store": msgspec.Raw(b"true")})
        responses.put(wanted.tenant, Kept(response_id, wanted.previous, wanted.items, body))

    def answer(self, request: web.BaseRequest, tenant: str) -> web.Response | None:
        """Answers a request for a kept answer; None where that is not what is asked. Raises Refusal."""
        named = ONE.fullmatch(request.path)
        if self._responses is None or named is None or request.method not in ("GET", "HEAD", "DELETE"):
            return None
        response_id, of_input = named[1], named[2] is not None
        if request.method == "DELETE":
            if of_input:
                return None
            if not self._responses.delete(tenant, response_id):
                raise self._find_nothing(response_id)
            return build_json({"id": response_id, "object": "response", "deleted": True})
        if of_input:
            return self._list_items(request, tenant, response_id)
        _refuse_queries(request, {"stream": "false"})
        kept = self._responses.get(tenant, response_id)
        if kept is None:
            raise self._find_nothing(response_id)
        return build_written(kept.body)

    def _list_items(self, request: web.BaseRequest, tenant: str, response_id: str) -> web.Response:
        assert self._responses is not None
        _refuse_queries(request, {"limit": None, "after": None, "order": None})
        limit, order = _read_limit(request.query.get("limit")), request.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise invalid("invalid_value", "order is neither asc nor desc; give one of them", "order")
        chain = self._responses.list_chain(tenant, response_id)
        if chain is None:
            raise self._find_nothing(response_id)
        items = [*list_conversation(chain[:-1]), *chain[-1].items]
        try:
            page = build_page(items, limit=limit, after=request.query.get("after"), descends=order == "desc")
        except KeyError as error:
            raise invalid("invalid_value", "after is no item of this response; give the id of one", "after") from error
        return build_written(page)

    def _find_nothing(self, response_id: str) -> Refusal:
        return Refusal(404, "not_found", f"Response{name_id(response_id)} not found.", "invalid_request_error")


async def _run(size: int, work: Callable[[], T]) -> T:
    """Does work on so many bytes: beside the event loop when they are many."""
    return work() if size <= SMALL_BYTES else await asyncio.to_thread(work)


def _read_limit(text: str | None) -> int:
    limit = PAGE_ITEMS if text is None else int(text) if text.isdecimal() and len(text) < 4 else 0
    if not 1 <= limit <= MAX_PAGE_ITEMS:
        raise invalid("invalid_value", f"limit is no number from 1 to {MAX_PAGE_ITEMS}; give one", "limit")
    return limit


def _refuse_queries(request: web.BaseRequest, known: dict[str, str | None]) -> None:
    """Raises Refusal for a parameter that is not built. `known` has those that are, with the one value that they may
    have, if it is one.
    """
    for name, value in request.query.items():
        if name not in known or known[name] not in (None, value):
            shown = name if name in ("stream", "starting_after", "include", "include[]") else "a parameter"
            raise invalid("unsupported_parameter", f"{shown} of the query is not supported here; leave it out", shown)
