"""A store in a bucket of S3, or of whatever speaks its language and knows `If-None-Match` on a PUT.

Who may use it is found as everywhere with S3: by AWS_* variables, a web identity token, or the machine's role. A log is
a row of objects, since S3 cannot append. Uploads that were cut off are the bucket's to remove, by a lifecycle rule.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore import store as stores

from pagoda_gateway.batch.store import BLOCK_BYTES, Entry, Log, Missing, StoreError, Writer, check_name

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
DELETED_AT_ONCE = 1000
RETRY_SECONDS = 20.0
CALL_SECONDS = 30.0
ABSENT = (exceptions.NotFoundError, FileNotFoundError)
EXISTS = (exceptions.AlreadyExistsError, exceptions.PreconditionError, FileExistsError)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a store lies."""

    name: str
    prefix: str
    endpoint: str = ""
    """Empty: AWS itself."""
    region: str = ""

    @classmethod
    def parse(cls, uri: str, *, endpoint: str = "", region: str = "") -> "Bucket":
        """Raises ValueError for what is not s3://BUCKET or s3://BUCKET/FOLDER."""
        parts = urlsplit(uri)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"{uri!r} is not s3://BUCKET/FOLDER")
        if prefix:
            check_name(prefix)
        return cls(parts.netloc, prefix, endpoint, region)


@contextmanager
def explained() -> Iterator[None]:
    """Turns obstore's errors into the store's. NB: the first line alone, the rest is a dump of the exchange."""
    try:
        yield
    except ABSENT as error:
        raise Missing(first_line(error)) from error
    except (exceptions.BaseError, OSError) as error:
        raise StoreError(first_line(error)) from error


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def open_bucket(bucket: Bucket) -> Any:
    options: dict[str, Any] = {"bucket": bucket.name}
    if bucket.endpoint:
        options["endpoint"] = bucket.endpoint
    if bucket.region:
        options["region"] = bucket.region
    return stores.S3Store(
        **options,
        prefix=bucket.prefix or None,
        client_options={"allow_http": bucket.endpoint.startswith("http://"), "timeout": f"{CALL_SECONDS:g}s"},
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


class S3Log:
    def __init__(self, store: "S3Store", name: str) -> None:
        self._store = store
        self._name = name
        self._count = 0

    async def append(self, data: bytes) -> None:
        await self._store.put(f"{self._name}/{self._count:08d}", data)
        self._count += 1

    async def close(self) -> None:
        pass


class S3Store:
    append_pause_seconds = 5.0
    """NB: what is done meanwhile is done again after a crash."""

    def __init__(self, bucket: Bucket) -> None:
        with explained():
            self._bucket = open_bucket(bucket)

    def prepare(self) -> None:
        """Does nothing: whether a bucket can be used is seen when it is, and it may come back."""

    def close(self) -> None:
        pass

    async def create(self, name: str, data: bytes) -> bool:
        """Returns whether the object is ours.

        NB: a PUT whose answer was lost is sent again, and then finds the object that it made: so what is there decides.
        """
        with explained():
            try:
                await obstore.put_async(self._bucket, check_name(name), data, mode="create", use_multipart=False)
            except EXISTS:
                return await self.get(name) == data
            return True

    async def put(self, name: str, data: bytes) -> None:
        with explained():
            await obstore.put_async(self._bucket, check_name(name), data, use_multipart=False)

    async def get(self, name: str) -> bytes | None:
        try:
            with explained():
                found = await obstore.get_async(self._bucket, check_name(name))
                return bytes(await found.bytes_async())
        except Missing:
            return None

    async def read(self, name: str, start: int, size: int) -> bytes:
        with explained():
            length = int((await obstore.head_async(self._bucket, check_name(name)))["size"])
            if start >= length:
                return b""
            end = min(start + size, length)
            return bytes(await obstore.get_range_async(self._bucket, name, start=start, end=end))

    def write(self, name: str) -> AbstractAsyncContextManager[Writer]:
        return self._write(name)

    @asynccontextmanager
    async def _write(self, name: str) -> AsyncIterator[Writer]:
        """NB: what is left with an error is let go, and the bucket never shows it. An error of the block is its own."""
        file = obstore.open_writer_async(
            self._bucket, check_name(name), buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE
        )
        await file.__aenter__()
        try:
            yield _Writer(file)
        except BaseException as error:
            with suppress(exceptions.BaseError, OSError):
                await file.__aexit__(type(error), error, error.__traceback__)
            raise
        with explained():
            await file.__aexit__(None, None, None)

    async def open_log(self, name: str) -> Log:
        return S3Log(self, check_name(name))

    async def read_log(self, name: str) -> AsyncIterator[bytes]:
        for entry in await self.find(name):
            for start in range(0, entry.size_bytes, BLOCK_BYTES):
                yield await self.read(entry.name, start, BLOCK_BYTES)

    async def delete(self, name: str) -> None:
        try:
            with explained():
                await obstore.delete_async(self._bucket, check_name(name))
        except Missing:
            return

    async def delete_below(self, prefix: str) -> None:
        paths = [check_name(entry.name) for entry in await self.find(prefix)]
        for start in range(0, len(paths), DELETED_AT_ONCE):
            with explained():
                await obstore.delete_async(self._bucket, paths[start : start + DELETED_AT_ONCE])

    async def find(self, prefix: str) -> list[Entry]:
        found = []
        with explained():
            async for batch in obstore.list(self._bucket, prefix=check_name(prefix)):
                found += [Entry(entry["path"], int(entry["size"])) for entry in batch]
        return sorted(found, key=lambda entry: entry.name)


class _Writer:
    def __init__(self, file: Any) -> None:
        self._file = file

    async def write(self, piece: bytes) -> None:
        with explained():
            await self._file.write(piece)
