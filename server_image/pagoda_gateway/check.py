"""Asking the server what it would say of a request before that request has its turn.

A request that must wait is judged at once: refused if it is invalid, else weighed exactly. Only the server's plain
refusal counts against a request; when it does not answer, or not in time, the gateway's estimate stands.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from pagoda_gateway.upstream import (
    UpstreamBroken,
    UpstreamUnreachable,
    build_request_head,
    open_exchange,
    read_document,
)
from pagoda_gateway.weight import Weight
from pagoda_guard.openai_errors import read_error_code
from pagoda_guard.parsing import BadInput, Count, parse_json

CHECKS_AT_ONCE = 4
CHECK_SECONDS = 5.0
"""The wait for one of those included."""
VERDICT_LIMIT_BYTES = 64 * 1024
REFUSALS = frozenset({400, 413, 415, 422})
ABSENT_MODEL = (404, "model_not_found")
"""Any other 404 may come from a server that has no such check."""


@dataclass(frozen=True, slots=True)
class Question:
    tenant: str
    path: str
    headers: Sequence[tuple[str, str]]
    """The headers as the server is to see them."""
    body: bytes


class Judged(Exception):
    """The server refuses the request, in these words: an error in OpenAI's shape."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"the server refuses it with {status}")
        self.status = status
        self.body = body


class _Weighed(msgspec.Struct):
    sequences: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    tokens: Count


def read_verdict(status: int, body: bytes) -> Weight | None:
    """Returns the request's weight, None when the answer says nothing of it. Raises Judged."""
    try:
        if status == 200:
            found = parse_json(body, _Weighed, limit_bytes=VERDICT_LIMIT_BYTES)
            return Weight(found.sequences, found.tokens)
        code = read_error_code(body, limit_bytes=VERDICT_LIMIT_BYTES)
    except BadInput:
        return None
    if status in REFUSALS or (status, code) == ABSENT_MODEL:
        raise Judged(status, body)
    return None


class Checker:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._turns = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def ask(self, question: Question) -> Weight | None:
        """Returns the request's weight, None when the server does not say. Raises Judged."""
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._turns:
                status, body = await self._post(question)
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError, ValueError):
            return None
        return read_verdict(status, body)

    async def _post(self, question: Question) -> tuple[int, bytes]:
        head = build_request_head("POST", f"/check{question.path}", question.headers, len(question.body))
        exchange = await open_exchange(self._socket, head, question.body)
        try:
            return exchange.head.status, await read_document(exchange, VERDICT_LIMIT_BYTES)
        finally:
            exchange.close()
