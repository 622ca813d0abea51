"""A store of files and batches in memory, seen by several gateways, each of which may be killed between two writes."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from pagoda_gateway.batch.store import Entry, Log, Missing, StoreError, Writer, check_name


@dataclass
class Mount:
    """How one gateway sees the store. Once it is dead, nothing that it does has any effect."""

    objects: dict[str, bytes] = field(default_factory=dict)
    writes_left: float = float("inf")
    torn_bytes: int = 0
    """Of the append in which it dies, so much is kept."""
    append_pause_seconds: float = 0.0

    @property
    def dead(self) -> bool:
        return self.writes_left < 0

    def _count_write(self) -> None:
        self.writes_left -= 1
        self._check()

    def _check(self) -> None:
        if self.dead:
            raise StoreError("the gateway is dead")

    def close(self) -> None:
        pass

    async def create(self, name: str, data: bytes) -> bool:
        self._count_write()
        if name in self.objects:
            return False
        self.objects[check_name(name)] = data
        return True

    async def put(self, name: str, data: bytes) -> None:
        self._count_write()
        self.objects[check_name(name)] = data

    async def get(self, name: str) -> bytes | None:
        self._check()
        return self.objects.get(name)

    async def read(self, name: str, start: int, size: int) -> bytes:
        self._check()
        if name not in self.objects:
            raise Missing(name)
        return self.objects[name][start : start + size]

    def write(self, name: str) -> AbstractAsyncContextManager[Writer]:
        return self._write(name)

    @asynccontextmanager
    async def _write(self, name: str) -> AsyncIterator[Writer]:
        pieces = _Pieces()
        yield pieces
        await self.put(name, bytes(pieces.data))

    async def open_log(self, name: str) -> Log:
        self._count_write()
        self.objects.setdefault(check_name(name), b"")
        return _Log(self, name)

    async def read_log(self, name: str) -> AsyncIterator[bytes]:
        self._check()
        data = self.objects.get(name, b"")
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]

    async def delete(self, name: str) -> None:
        self._count_write()
        self.objects.pop(name, None)

    async def delete_below(self, prefix: str) -> None:
        for entry in await self.find(prefix):
            await self.delete(entry.name)

    async def find(self, prefix: str) -> list[Entry]:
        self._check()
        found = sorted(name for name in self.objects if name.startswith(f"{prefix}/"))
        return [Entry(name, len(self.objects[name])) for name in found]


class _Pieces:
    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, piece: bytes) -> None:
        self.data += piece


class _Log:
    def __init__(self, mount: Mount, name: str) -> None:
        self._mount = mount
        self._name = name

    async def append(self, data: bytes) -> None:
        mount = self._mount
        was_alive = not mount.dead
        try:
            mount._count_write()
        except StoreError:
            if was_alive:
                mount.objects[self._name] += data[: mount.torn_bytes]
            raise
        mount.objects[self._name] += data

    async def close(self) -> None:
        pass
