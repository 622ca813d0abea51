"""The input file of a batch: scanned once in blocks, then read request by request through one block that is held."""

import asyncio
from collections.abc import AsyncIterator

from pagoda_gateway.batch.lines import Index, Scanner
from pagoda_gateway.batch.store import BLOCK_BYTES, Missing, Store


class Source:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._block = b""
        self._block_start = 0

    async def scan(self, scanner: Scanner) -> None:
        """Raises StoreError. NB: a block is milliseconds of work, so it is done in a thread."""
        async for block in self._read_blocks():
            await asyncio.to_thread(scanner.feed, block)
            if scanner.has_enough:
                break
        scanner.close()

    async def _read_blocks(self) -> AsyncIterator[bytes]:
        start = 0
        while block := await self._store.read(self._name, start, BLOCK_BYTES):
            start += len(block)
            yield block

    async def read(self, index: Index, number: int) -> bytes:
        """Returns the line of a request. Raises StoreError."""
        start, size = index.place(number)
        held_to = self._block_start + len(self._block)
        if start < self._block_start or start + size > held_to:
            block = await self._store.read(self._name, start, max(size, BLOCK_BYTES))
            self._block, self._block_start = block, start
        at = start - self._block_start
        line = self._block[at : at + size]
        if len(line) < size:
            raise Missing(f"{self._name}: shorter than it was")
        return line
