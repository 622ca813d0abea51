"""Removing what is over: files and batches whose time has passed, and what an interrupted upload left.

Any gateway may do it, and two of them at once: to remove what is gone already is no error.
"""

from collections.abc import Callable

from pagoda_gateway.batch import names
from pagoda_gateway.batch.files import RECORD, Files
from pagoda_gateway.batch.limits import DAY_SECONDS, KEPT_SECONDS, WINDOW_SECONDS
from pagoda_gateway.batch.metrics import BatchMetrics
from pagoda_gateway.batch.register import Register
from pagoda_gateway.batch.store import Store

LEFT_OVER_SECONDS = DAY_SECONDS
"""NB: longer than any upload takes."""
MARK_SECONDS = 600.0
"""A batch's mark is made just before the batch; so long after it, the batch was never made."""


class Cleaner:
    def __init__(
        self, store: Store, files: Files, register: Register, metrics: BatchMetrics, *, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._files = files
        self._register = register
        self._metrics = metrics
        self._now = now

    async def clean(self) -> None:
        """Raises StoreError."""
        await self._clean_files()
        for tenant, batch_id in await self._register.find_ids():
            if names.read_age(batch_id, self._now()) > KEPT_SECONDS + WINDOW_SECONDS:
                await self._register.end(tenant, batch_id)
                await self._register.remove(tenant, batch_id)

    async def clean_mark(self, tenant: str, batch_id: str) -> None:
        if names.read_age(batch_id, self._now()) > MARK_SECONDS:
            await self._register.end(tenant, batch_id)

    async def _clean_files(self) -> None:
        entries = await self._store.find("files")
        recorded = {entry.name.removesuffix(RECORD) for entry in entries if entry.name.endswith(RECORD)}
        for entry in entries:
            stem = entry.name.rsplit(".", 1)[0]
            _, tenant, file_id = stem.split("/")
            if stem not in recorded:
                if names.read_age(file_id, self._now()) > LEFT_OVER_SECONDS:
                    await self._store.delete(entry.name)
            elif entry.name.endswith(RECORD) and await self._is_over(tenant, file_id):
                await self._files.delete(tenant, file_id)
                self._metrics.count_file("expired")

    async def _is_over(self, tenant: str, file_id: str) -> bool:
        """Returns True for a file that nobody sees any more and no batch needs."""
        if await self._files.find(tenant, file_id) is not None:
            return False
        return await self._register.find_user_of(tenant, file_id) is None
