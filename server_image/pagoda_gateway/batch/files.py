"""The files of each tenant: a small record beside the content, which nobody sees before it is whole.

A file whose time is over is not there any more, whether or not it was removed already.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import msgspec

from pagoda_gateway.batch import names
from pagoda_gateway.batch.store import BLOCK_BYTES, Store, StoreError

Purpose = Literal["batch", "batch_output"]
READS_AT_ONCE = 16
RECORD = ".record"

T = TypeVar("T")


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A file as OpenAI's API shows it."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"


@dataclass(frozen=True, slots=True)
class Usage:
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    has_more: bool


class Files:
    def __init__(self, store: Store, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def measure(self, tenant: str) -> Usage:
        """Returns what a tenant has, those files included whose time is over and that are not removed yet."""
        entries = await self._store.find(names.files_of(tenant))
        count = sum(entry.name.endswith(RECORD) for entry in entries)
        return Usage(count, sum(entry.size_bytes for entry in entries if not entry.name.endswith(RECORD)))

    async def add(self, tenant: str, record: FileRecord) -> None:
        """Makes a file whose content is written already seen."""
        await self._store.put(names.file_record(tenant, record.id), msgspec.json.encode(record))

    async def find(self, tenant: str, file_id: str) -> FileRecord | None:
        if not names.is_id("file", file_id):
            return None
        record = await self._read(names.file_record(tenant, file_id))
        return record if record is not None and not self._is_over(record) else None

    async def list(
        self, tenant: str, *, after: str | None, limit: int, newest_first: bool, purpose: str | None
    ) -> Page[FileRecord]:
        entries = await self._store.find(names.files_of(tenant))
        found = [entry.name for entry in entries if entry.name.endswith(RECORD)]
        ordered = found[::-1] if newest_first else found
        if after is not None:
            mark = names.file_record(tenant, after)
            ordered = ordered[ordered.index(mark) + 1 :] if mark in ordered else []
        items: list[FileRecord] = []
        async for record in self._read_all(ordered):
            if purpose is not None and record.purpose != purpose:
                continue
            if len(items) == limit:
                return Page(items, has_more=True)
            items.append(record)
        return Page(items, has_more=False)

    async def read(self, tenant: str, record: FileRecord) -> AsyncIterator[bytes]:
        """Yields the content in blocks."""
        name = names.file_content(tenant, record.id)
        for start in range(0, record.bytes, BLOCK_BYTES):
            yield await self._store.read(name, start, min(BLOCK_BYTES, record.bytes - start))

    async def delete(self, tenant: str, file_id: str) -> None:
        await self._store.delete(names.file_record(tenant, file_id))
        await self._store.delete(names.file_content(tenant, file_id))

    async def _read(self, name: str) -> FileRecord | None:
        raw = await self._store.get(name)
        try:
            return None if raw is None else msgspec.json.decode(raw, type=FileRecord)
        except msgspec.MsgspecError as error:
            raise StoreError(f"{name}: {error}") from error

    async def _read_all(self, found: Sequence[str]) -> AsyncIterator[FileRecord]:
        for start in range(0, len(found), READS_AT_ONCE):
            for record in await asyncio.gather(*map(self._read, found[start : start + READS_AT_ONCE])):
                if record is not None and not self._is_over(record):
                    yield record

    def _is_over(self, record: FileRecord) -> bool:
        return record.expires_at is not None and record.expires_at <= self._now()
