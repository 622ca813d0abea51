"""Taking a file from a client: its form is read as fast as the store takes the content, and no faster.

What is refused half way leaves nothing behind.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

from aiohttp import web

from pagoda_gateway.batch import names
from pagoda_gateway.batch.files import FileRecord, Files
from pagoda_gateway.batch.form import BadForm, Event, FormReader, PartBegins, PartData, read_boundary
from pagoda_gateway.batch.limits import EXPIRY_SECONDS, KEPT_SECONDS, UPLOADS, Limits
from pagoda_gateway.batch.store import Store, Writer
from pagoda_gateway.body import SLOWEST_BYTES_PER_SECOND, TENANT_SHARE, invite
from pagoda_gateway.errors import Refusal

FIELD_LIMIT_BYTES = 512
FILENAME_LIMIT = 256
RETRY_SECONDS = 5
FORM_OVERHEAD_BYTES = 64 * 1024


def invalid(message: str, param: str | None = None, *, code: str = "invalid_value", status: int = 400) -> Refusal:
    return Refusal(status, code, message, "invalid_request_error", param=param)


class Room:
    """Who uploads now: bounded, for each upload holds a buffer and writes."""

    def __init__(self, *, of_many: bool) -> None:
        """`of_many`: there are several tenants, none of which may have all."""
        self._most = max(int(UPLOADS * TENANT_SHARE), 1) if of_many else UPLOADS
        self._uploads: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()

    @contextmanager
    def hold(self, tenant: str) -> Iterator[None]:
        if self._uploads.total() >= UPLOADS or self._uploads[tenant] >= self._most:
            message = f"{self._uploads[tenant]} files are being uploaded: try again once one of them is."
            raise Refusal(429, "uploads_full", message, "rate_limit_error", retry_after_seconds=RETRY_SECONDS)
        self._uploads[tenant] += 1
        try:
            yield
        finally:
            self._uploads[tenant] -= 1
            if not self._uploads[tenant]:
                del self._uploads[tenant]

    def uploading(self, tenant: str) -> int:
        return self._uploads[tenant]


class Fields:
    """What the form says beside the file."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, name: str, raw: bytes) -> None:
        """Raises Refusal for a value that is not accepted."""
        text = raw.decode("utf-8", "replace").strip()
        if name == "purpose" and text != "batch":
            raise invalid(f"purpose is {text[:64]!r}: give 'batch', the only purpose of files here.", "purpose")
        if name == "expires_after[anchor]" and text != "created_at":
            message = f"expires_after.anchor is {text[:64]!r}: give 'created_at'."
            raise invalid(message, "expires_after.anchor")
        if name == "expires_after[seconds]":
            check_expiry(text, "expires_after.seconds")
        self._values[name] = text

    def check(self) -> None:
        """Raises Refusal for a form in which something is missing."""
        if "purpose" not in self._values:
            raise invalid("purpose is missing: give the field purpose, 'batch'.", "purpose")
        if ("expires_after[anchor]" in self._values) != ("expires_after[seconds]" in self._values):
            raise invalid("expires_after is not whole: give both anchor and seconds.", "expires_after")

    @property
    def kept_seconds(self) -> int:
        return int(self._values.get("expires_after[seconds]", KEPT_SECONDS))


def check_expiry(text: str, param: str) -> int:
    least, most = EXPIRY_SECONDS
    seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else -1
    if not least <= seconds <= most:
        raise invalid(f"{param} is {text[:64]!r}: give a whole number from {least} to {most}.", param)
    return seconds


class Uploads:
    def __init__(
        self, store: Store, files: Files, limits: Limits, *, seconds: float, of_many: bool, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._files = files
        self._limits = limits
        self._seconds = seconds
        self._room = Room(of_many=of_many)
        self._now = now

    async def take(self, request: web.Request, tenant: str) -> FileRecord:
        """Raises Refusal, or StoreError."""
        with self._room.hold(tenant):
            left_bytes = await self._find_room(tenant)
            return await _Upload(self._store, self._files, tenant, left_bytes, self._now).run(
                read_events(request, self._limits.file_bytes + FORM_OVERHEAD_BYTES, self._seconds)
            )

    async def _find_room(self, tenant: str) -> int:
        """Returns how large the file may be. NB: what is being uploaded now counts as if it were as large as it may."""
        usage = await self._files.measure(tenant)
        others = self._room.uploading(tenant) - 1
        if usage.files + others >= self._limits.files:
            message = f"You have {usage.files} files, and at most {self._limits.files} are kept: delete some first."
            raise invalid(message, code="files_full", status=409)
        left = self._limits.total_bytes - usage.bytes - others * self._limits.file_bytes
        if left <= 0:
            message = (
                f"Your files have {usage.bytes} bytes{' and more are being uploaded' if others else ''}, and at most "
                f"{self._limits.total_bytes} are kept: delete some first."
            )
            raise invalid(message, code="files_full", status=409)
        return min(left, self._limits.file_bytes)


async def read_events(request: web.Request, limit_bytes: int, seconds: float) -> AsyncIterator[Event]:
    """Yields the form's parts as they come. Raises Refusal for what is no form, too large or too slow."""
    try:
        reader = FormReader(read_boundary(request.headers.get("Content-Type", "")))
        await invite(request)
        async for piece in read_pieces(request, limit_bytes, seconds):
            for event in reader.feed(piece):
                yield event
        reader.close()
    except BadForm as error:
        raise invalid(f"The body is not a form with a file: {error}.", code="bad_form") from error
    except web.RequestPayloadError as error:
        raise invalid("The request's body is not framed as HTTP/1.1 requires.", code="bad_request") from error


async def read_pieces(request: web.Request, limit_bytes: int, seconds: float) -> AsyncIterator[bytes]:
    """Yields the body. NB: only the time that the client takes counts, not the time that the store does."""
    clock = asyncio.get_running_loop().time
    read_bytes, left_seconds = 0, seconds
    while True:
        asked_at = clock()
        try:
            async with asyncio.timeout(left_seconds):
                piece = await request.content.readany()
        except TimeoutError as error:
            message = f"The file came too slowly: {read_bytes} bytes were read."
            raise invalid(message, code="body_too_slow", status=408) from error
        if not piece:
            return
        read_bytes += len(piece)
        left_seconds += len(piece) / SLOWEST_BYTES_PER_SECOND - (clock() - asked_at)
        if read_bytes > limit_bytes:
            raise too_large(limit_bytes - FORM_OVERHEAD_BYTES)
        yield piece


def too_large(limit_bytes: int) -> Refusal:
    message = f"The file is larger than {limit_bytes} bytes: split it, or delete other files."
    return invalid(message, "file", code="file_too_large", status=413)


class _Upload:
    """One form: its file goes to the store as it comes, its fields are kept."""

    def __init__(self, store: Store, files: Files, tenant: str, limit_bytes: int, now: Callable[[], float]) -> None:
        self._store = store
        self._files = files
        self._tenant = tenant
        self._limit_bytes = limit_bytes
        self._created_at = now()
        self._id = names.build_id("file", self._created_at)
        self._fields = Fields()
        self._filename: str | None = None
        self._size_bytes = 0

    async def run(self, events: AsyncIterator[Event]) -> FileRecord:
        try:
            async with AsyncExitStack() as writing:
                await self._read(events, writing)
            self._fields.check()
            if self._filename is None:
                raise invalid("file is missing: send the file as the part 'file', with its filename.", "file")
            record = self._build_record(self._filename)
            await self._files.add(self._tenant, record)
        except BaseException:
            await asyncio.shield(self._store.delete(names.file_content(self._tenant, self._id)))
            raise
        return record

    async def _read(self, events: AsyncIterator[Event], writing: AsyncExitStack) -> None:
        part: PartBegins | None = None
        writer: Writer | None = None
        value = bytearray()
        async for event in events:
            if isinstance(event, PartBegins):
                part, value = event, bytearray()
                if event.name == "file":
                    writer = await self._open(event, writing)
            elif part is None or part.name == "file":
                if isinstance(event, PartData) and writer is not None:
                    await self._write(writer, event.data)
            elif isinstance(event, PartData):
                value += event.data
                if len(value) > FIELD_LIMIT_BYTES:
                    message = f"{part.name[:64]} is longer than {FIELD_LIMIT_BYTES} bytes: it is no field of this form."
                    raise invalid(message, code="bad_form")
            else:
                self._fields.set(part.name, bytes(value))

    async def _open(self, part: PartBegins, writing: AsyncExitStack) -> Writer:
        if self._filename is not None:
            raise invalid("file is there twice: send one file.", "file", code="bad_form")
        self._filename = clean_filename(part.filename or "")
        return await writing.enter_async_context(self._store.write(names.file_content(self._tenant, self._id)))

    async def _write(self, writer: Writer, data: bytes) -> None:
        self._size_bytes += len(data)
        if self._size_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)
        await writer.write(data)

    def _build_record(self, filename: str) -> FileRecord:
        created_at = int(self._created_at)
        return FileRecord(
            id=self._id,
            bytes=self._size_bytes,
            created_at=created_at,
            expires_at=created_at + self._fields.kept_seconds,
            filename=filename,
            purpose="batch",
        )


def clean_filename(text: str) -> str:
    """Returns the name without folders and control characters, as it is only shown."""
    base = text.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in base if letter.isprintable())[:FILENAME_LIMIT] or "file"
