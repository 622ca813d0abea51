"""A store in a folder, of this machine or of a network file system that several machines mount.

An object is a file that is written beside its place, synced and then moved there, so that nobody sees half of one. All
calls block, so they run in threads of their own: a file system that hangs must hold up nothing else.

Others may write to the volume, and this process can read API keys: no link is followed, and only files are read.
"""

import asyncio
import errno
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import ParamSpec, TypeVar

from pagoda_gateway.batch.store import BLOCK_BYTES, Entry, Log, Missing, StoreError, StoreFull, Writer, check_name

THREADS = 8
UNFINISHED = ".unfinished"
"""The folder of files that are being written. NB: no object's name begins with a dot."""
ABANDONED_SECONDS = 86_400.0
SMALL_BYTES = 8 * 1024 * 1024
"""No object that is read whole is larger."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def explained(root: Path) -> Iterator[None]:
    """Turns the file system's errors into the store's."""
    try:
        yield
    except FileNotFoundError as error:
        raise Missing(f"{error.filename}: not there") from error
    except OSError as error:
        kind = StoreFull if error.errno in FULL else StoreError
        raise kind(f"{root}: {error.strerror or error}") from error


FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def entered(root: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """Gives the folder of an object, open, and its name in it. `make` makes the folders on the way."""
    *folders, last = check_name(name).split("/")
    descriptor = os.open(root, FOLDER_FLAGS)
    try:
        for folder in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o770, dir_fd=descriptor)
            below = os.open(folder, FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, last
    finally:
        os.close(descriptor)


def open_object(root: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """Returns the object's file, open. Raises OSError."""
    with entered(root, name, make=bool(flags & os.O_CREAT)) as (folder, last):
        descriptor = os.open(last, flags | FILE_FLAGS, 0o660, dir_fd=folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no file", name)
        if flags & os.O_CREAT:
            os.fsync(folder)
        return descriptor


class Draft:
    """A file that is being written, not yet at its place."""

    def __init__(self, root: Path) -> None:
        self.path = root / UNFINISHED / token_hex(12)
        self._file = self.path.open("xb", buffering=0)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def finish(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class _Writer:
    def __init__(self, store: "FolderStore", draft: Draft) -> None:
        self._store = store
        self._draft = draft
        self._held = bytearray()

    async def write(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) >= BLOCK_BYTES:
            await self.flush()

    async def flush(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        await self._store.work(self._draft.write, data)


class FolderLog:
    def __init__(self, store: "FolderStore", descriptor: int) -> None:
        self._store = store
        self._descriptor = descriptor

    async def append(self, data: bytes) -> None:
        await self._store.work(self._append, data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fsync(self._descriptor)

    async def close(self) -> None:
        await self._store.work(os.close, self._descriptor)


class FolderStore:
    append_pause_seconds = 0.0

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="batch-folder")

    def prepare(self) -> None:
        """Makes sure that the folder can be used, and removes what processes that were killed left unfinished.

        Raises StoreError.
        """
        with explained(self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self._root / UNFINISHED).mkdir(exist_ok=True)
            oldest = time.time() - ABANDONED_SECONDS
            for path in (self._root / UNFINISHED).iterdir():
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()
        name = f"probe-{token_hex(8)}"
        try:
            self._create(name, b"")
        except StoreError as error:
            raise StoreError(f"{error}: it needs hard links, by which one replica alone takes a batch") from error
        self._delete(name)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def work(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking call in a thread of the store."""

        def run() -> T:
            with explained(self._root):
                return call(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def create(self, name: str, data: bytes) -> bool:
        return await self.work(self._create, name, data)

    def _create(self, name: str, data: bytes) -> bool:
        with explained(self._root), self._draft(data) as draft:
            return self._move(draft, name, replace=False)

    async def put(self, name: str, data: bytes) -> None:
        await self.work(self._put, name, data)

    def _put(self, name: str, data: bytes) -> None:
        with self._draft(data) as draft:
            self._move(draft, name, replace=True)

    @contextmanager
    def _draft(self, data: bytes) -> Iterator[Draft]:
        draft = Draft(self._root)
        try:
            draft.write(data)
            draft.finish()
            yield draft
        finally:
            draft.discard()

    def _move(self, draft: Draft, name: str, *, replace: bool) -> bool:
        with entered(self._root, name, make=True) as (folder, last):
            try:
                if replace:
                    os.replace(draft.path, last, dst_dir_fd=folder)
                else:
                    os.link(draft.path, last, dst_dir_fd=folder)
            except FileExistsError:
                return False
            os.fsync(folder)
        return True

    async def get(self, name: str) -> bytes | None:
        try:
            return await self.work(self._read, name, 0, SMALL_BYTES)
        except Missing:
            return None

    async def read(self, name: str, start: int, size: int) -> bytes:
        return await self.work(self._read, name, start, size)

    def _read(self, name: str, start: int, size: int) -> bytes:
        descriptor = open_object(self._root, name)
        with open(descriptor, "rb", buffering=0) as file:
            file.seek(start)
            data = bytearray()
            while len(data) < size and (piece := file.read(size - len(data))):
                data += piece
            return bytes(data)

    def write(self, name: str) -> AbstractAsyncContextManager[Writer]:
        return self._write(name)

    @asynccontextmanager
    async def _write(self, name: str) -> AsyncIterator[Writer]:
        draft = await self.work(Draft, self._root)
        try:
            writer = _Writer(self, draft)
            yield writer
            await writer.flush()
            await self.work(draft.finish)
            await self.work(self._move, draft, name, replace=True)
        finally:
            await asyncio.shield(self.work(draft.discard))

    async def open_log(self, name: str) -> Log:
        return FolderLog(self, await self.work(self._open_log, name))

    def _open_log(self, name: str) -> int:
        return open_object(self._root, name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def read_log(self, name: str) -> AsyncIterator[bytes]:
        start = 0
        try:
            while block := await self.read(name, start, BLOCK_BYTES):
                start += len(block)
                yield block
        except Missing:
            return

    async def delete(self, name: str) -> None:
        await self.work(self._delete, name)

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError), entered(self._root, name) as (folder, last):
            os.unlink(last, dir_fd=folder)

    async def delete_below(self, prefix: str) -> None:
        await self.work(self._delete_below, prefix)

    def _delete_below(self, prefix: str) -> None:
        for entry in self._find(prefix):
            self._delete(entry.name)
        with suppress(OSError), entered(self._root, prefix) as (folder, last):
            os.rmdir(last, dir_fd=folder)  # NB: it stays where it has folders, or another makes an object in it now

    async def find(self, prefix: str) -> list[Entry]:
        return await self.work(self._find, prefix)

    def _find(self, prefix: str) -> list[Entry]:
        found = [
            Entry(path.relative_to(self._root).as_posix(), size) for path, size in walk(self._root / check_name(prefix))
        ]
        return sorted(found, key=lambda entry: entry.name)


def walk(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yields the files below a folder with their sizes. What goes away meanwhile is passed over."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
            continue
        with suppress(FileNotFoundError):
            if entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False).st_size
