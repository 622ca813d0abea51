"""The lines of output and error files, and the files made of the journals.

Each request has exactly one line, in one of the two files, however often it was answered. Writing them again writes the
same files.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from secrets import token_hex

import msgspec

from pagoda_gateway.batch import names
from pagoda_gateway.batch.call import Answer
from pagoda_gateway.batch.files import FileRecord, Files
from pagoda_gateway.batch.journal import Done, Tally
from pagoda_gateway.batch.records import Order
from pagoda_gateway.batch.store import Store, Writer


class _Response(msgspec.Struct):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _Error(msgspec.Struct):
    code: str
    message: str


class _Line(msgspec.Struct):
    id: str
    custom_id: msgspec.Raw
    response: _Response | None = None
    error: _Error | None = None


def build_request_id() -> str:
    return f"batch_req_{token_hex(12)}"


def build_answer_line(request_id: str, custom_id: msgspec.Raw, answer: Answer) -> msgspec.Raw:
    response = _Response(answer.status, answer.request_id, msgspec.Raw(answer.body))
    return msgspec.Raw(msgspec.json.encode(_Line(request_id, custom_id, response)))


def build_error_line(request_id: str, custom_id: msgspec.Raw, code: str, message: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(_Line(request_id, custom_id, error=_Error(code, message))))


class _Part:
    """One of the two files. It is begun with its first line: an empty file is none."""

    def __init__(self, order: Order, kind: str, stamp: int) -> None:
        self.id = names.build_derived_id("file", stamp, f"{order.id} {kind}")
        self.filename = f"{order.id}_{kind}.jsonl"
        self.size_bytes = 0
        self._name = names.file_content(order.tenant, self.id)
        self._writer: Writer | None = None

    async def write(self, store: Store, stack: AsyncExitStack, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._writer is None:
            self._writer = await stack.enter_async_context(store.write(self._name))
        piece = b"".join(lines)
        self.size_bytes += len(piece)
        await self._writer.write(piece)


class Assembly:
    def __init__(self, store: Store, files: Files, order: Order, *, stamp: int, now: Callable[[], float]) -> None:
        """`stamp` is a time that is the same whenever the files of this batch are written."""
        self._store = store
        self._files = files
        self._order = order
        self._now = now
        self._output = _Part(order, "output", stamp)
        self._errors = _Part(order, "error", stamp)

    async def write(self, dones: AsyncIterator[list[Done]], requests: int) -> Tally:
        """Writes both files and returns what is in them. Raises StoreError."""
        tally = Tally(requests)
        async with AsyncExitStack() as stack:
            async for some in dones:
                output, errors = await asyncio.to_thread(sort_lines, some, tally)
                await self._output.write(self._store, stack, output)
                await self._errors.write(self._store, stack, errors)
        return tally

    async def show(self) -> tuple[str | None, str | None]:
        """Makes the files seen, and returns their ids."""
        return await self._show(self._output), await self._show(self._errors)

    async def _show(self, part: _Part) -> str | None:
        if not part.size_bytes:
            return None
        created_at = int(self._now())
        record = FileRecord(
            id=part.id,
            bytes=part.size_bytes,
            created_at=created_at,
            expires_at=created_at + self._order.output_seconds,
            filename=part.filename,
            purpose="batch_output",
        )
        await self._files.add(self._order.tenant, record)
        return part.id


def sort_lines(dones: list[Done], tally: Tally) -> tuple[list[bytes], list[bytes]]:
    """Returns the lines of the output and of the error file, of requests that had none before."""
    output: list[bytes] = []
    errors: list[bytes] = []
    for done in dones:
        if tally.add(done):
            (output if done.succeeded else errors).append(bytes(done.line) + b"\n")
    return output, errors
