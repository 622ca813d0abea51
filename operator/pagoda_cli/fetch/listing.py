"""What a hub lists of a repository, held to what can be true: which files, how long, of which commit.

Paths, sizes and their number are a stranger's: what is listed wrongly is refused before the first byte is fetched.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from pagoda_cli.fetch.weights import is_wanted
from pagoda_cli.secret import shorten
from pagoda_guard.parsing import BadInput, Count, parse_json

MAX_LISTING_BYTES = 8 << 20
MAX_FILES = 10_000
MAX_NAME_BYTES = 255


class ListingError(Exception):
    """The listing cannot be true; the message says what of it, and the fix."""


class _Lfs(msgspec.Struct):
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None


class _Sibling(msgspec.Struct):
    rfilename: str
    size: Count | None = None
    lfs: _Lfs | None = None


class _Listing(msgspec.Struct):
    sha: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{7,64}$")]
    siblings: list[_Sibling] | None = None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that is fetched. `sha256` is None for a small one, which the hub keeps in git."""

    name: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The wanted files of one commit; `names` are all that the repository has."""

    commit: str
    files: tuple[ListedFile, ...]
    names: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def parse_listing(raw: bytes) -> Snapshot:
    """Parses what the hub lists. Raises ListingError."""
    try:
        listing = parse_json(raw, _Listing, limit_bytes=MAX_LISTING_BYTES)
    except BadInput as error:
        raise ListingError(f"the hub's listing is not one ({error}): check HF_ENDPOINT") from error
    siblings = listing.siblings or []
    names = tuple(sibling.rfilename for sibling in siblings)
    for name in names:
        if not is_path(name):
            raise ListingError(f"the hub lists {shorten(name)}, which is no path in a repository: use another one")
    if len(set(names)) < len(names):
        raise ListingError("the hub lists a file twice: use another repository")
    files = tuple(_read_file(sibling) for sibling in siblings if is_wanted(sibling.rfilename))
    if len(files) > MAX_FILES:
        raise ListingError(f"the hub lists {len(files)} files of a model: at most {MAX_FILES} are fetched")
    return Snapshot(listing.sha, files, names)


def is_path(name: str) -> bool:
    """Returns whether the path is relative, printable, free of `.` and `..`, and short enough for a file system."""
    parts = name.split("/")
    return name.isprintable() and all(
        part not in ("", ".", "..") and len(part.encode()) <= MAX_NAME_BYTES for part in parts
    )


def _read_file(sibling: _Sibling) -> ListedFile:
    if sibling.size is None:
        fix = "use a hub that lists sizes, without which a download has no end"
        raise ListingError(f"the hub lists no size for {shorten(sibling.rfilename)}: {fix}")
    return ListedFile(sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs is not None else None)


def is_there(file: ListedFile, folder: Path) -> bool:
    path = folder / file.name
    return path.is_file() and not path.is_symlink() and path.stat().st_size == file.size_bytes
