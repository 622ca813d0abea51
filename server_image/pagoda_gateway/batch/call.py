"""One request of a batch at the server: sent as the relay sends live ones, its answer kept whole.

What the request itself is to blame for is its answer; what the server is to blame for is tried again, later.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pagoda_gateway.batch.records import Tokens
from pagoda_gateway.upstream import (
    Document,
    UpstreamBroken,
    UpstreamUnreachable,
    build_request_head,
    open_exchange,
)
from pagoda_guard.parsing import BadInput, Count, parse_json

ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
ANSWERS_LIMIT_BYTES = 128 * 1024 * 1024
"""Of all answers together that are being read."""
ANSWER_SECONDS = 3600.0
OFFER_SECONDS = 3.0
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_PAUSE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    """JSON in one line."""
    request_id: str


class TryAgain(Exception):
    """The server could not answer now.

    `answer` is what it said, if anything; `pause_seconds` is how long it asked to be left alone; `is_counted` is False
    where the server was not even reached.
    """

    def __init__(
        self, reason: str, *, answer: Answer | None = None, pause_seconds: float = 0.0, is_counted: bool = True
    ) -> None:
        super().__init__(reason)
        self.answer = answer
        self.pause_seconds = pause_seconds
        self.is_counted = is_counted


class TooLarge(Exception):
    """The answer is larger than one may be."""


class Held:
    """How many bytes of answers are being read, of all of them."""

    def __init__(self) -> None:
        self.bytes = 0


class _Answer(Document):
    def __init__(self, held: Held) -> None:
        super().__init__(ANSWER_LIMIT_BYTES)
        self.is_too_large = False
        self._held = held

    def take(self, piece: bytes) -> bool:
        self.is_too_large = len(self.raw) + len(piece) > ANSWER_LIMIT_BYTES
        if not self.is_too_large and self._held.bytes + len(piece) > ANSWERS_LIMIT_BYTES:
            raise ValueError("too many bytes of answers are being read")
        super().take(piece)
        self._held.bytes += len(piece)
        return True

    def let_go(self) -> None:
        self._held.bytes -= len(self.raw)


class Server:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._held = Held()

    async def ask(self, path: str, body: bytes, *, tenant: str, request_id: str) -> Answer:
        """Raises TryAgain or TooLarge."""
        headers = [
            ("Host", "server"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json"),
            ("X-Request-Id", request_id),
            ("X-Pagoda-Tenant", tenant),
        ]
        head = build_request_head("POST", path, headers, len(body))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._exchange(head, body, request_id)
        except UpstreamUnreachable as error:
            raise TryAgain(str(error), is_counted=False) from error
        except (UpstreamBroken, TimeoutError) as error:
            raise TryAgain(str(error) or f"no answer within {ANSWER_SECONDS:g} s") from error

    async def offers(self, path: str) -> bool:
        """Returns whether the server takes a POST at this path: one that it does not know is a 404 for any method."""
        head = build_request_head("GET", path, [("Host", "server")], 0)
        try:
            async with asyncio.timeout(OFFER_SECONDS):
                exchange = await open_exchange(self._socket, head)
        except (UpstreamUnreachable, UpstreamBroken, TimeoutError):
            return False
        exchange.close()
        return exchange.head.status == 405

    async def _exchange(self, head: bytes, body: bytes, request_id: str) -> Answer:
        exchange = await open_exchange(self._socket, head, body)
        document = _Answer(self._held)
        try:
            await exchange.copy(document)
            status = exchange.head.status
            body = await asyncio.to_thread(pack, bytes(document.raw))
            answer = Answer(status, body, exchange.head.get("x-request-id") or request_id)
            if status in TRY_AGAIN:
                pause_seconds = read_pause(exchange.head.get("retry-after"))
                raise TryAgain(f"the server answered {status}", answer=answer, pause_seconds=pause_seconds)
            return answer
        except UpstreamBroken as error:
            if document.is_too_large:
                raise TooLarge from error
            raise
        finally:
            document.let_go()
            exchange.close()


def pack(body: bytes) -> bytes:
    """Returns JSON in one line; what is no JSON becomes a string."""
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        return msgspec.json.format(body, indent=-1)
    except (msgspec.MsgspecError, RecursionError):
        return msgspec.json.encode(body.decode("utf-8", "replace"))


def read_pause(retry_after: str) -> float:
    if not (retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 6):
        return 0.0
    return min(float(retry_after), LONGEST_PAUSE_SECONDS)


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    """Tokens by their names in chat and completions, and in responses."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Body(msgspec.Struct):
    usage: _Usage | None = None


def read_tokens(body: bytes) -> Tokens:
    """Returns what an answer says that it cost, nothing where it does not."""
    try:
        usage = parse_json(body, _Body, limit_bytes=len(body)).usage or _Usage()
    except BadInput:
        return Tokens()
    of_input = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    of_output = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    return Tokens(
        input=usage.prompt_tokens or usage.input_tokens or 0,
        cached=of_input.cached_tokens or 0,
        output=usage.completion_tokens or usage.output_tokens or 0,
        reasoning=of_output.reasoning_tokens or 0,
    )
