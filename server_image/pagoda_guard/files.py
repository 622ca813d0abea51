"""The bytes of a file that a stranger may have put there: a plain file of bounded size, or one error.

NB: links are followed, for `pagoda fetch file://` makes them; a link to a device or a pipe is refused unopened.
"""

import os
import stat
from pathlib import Path


class BadFile(Exception):
    """The file is not read. The message says why and leaves the file's name to the caller, who knows how to show it."""


def is_plain_file(path: Path) -> bool:
    """Returns False where there is nothing. Raises `BadFile` for what is no plain file, or cannot be told."""
    try:
        _check_plain(os.stat(path))
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise BadFile(_describe(error)) from error
    return True


def read_plain_file(path: Path, *, limit_bytes: int) -> bytes:
    """Returns what the file holds. Raises `BadFile` for one that is missing, no plain file, too large or unreadable."""
    try:
        found = os.stat(path)
        _check_plain(found)
        if found.st_size <= limit_bytes:
            with path.open("rb") as file:
                raw = file.read(limit_bytes + 1)
            if len(raw) <= limit_bytes:
                return raw
    except (OSError, ValueError) as error:
        raise BadFile(_describe(error)) from error
    raise BadFile(f"has more than {limit_bytes} bytes")


def _check_plain(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise BadFile("is no plain file")


def _describe(error: OSError | ValueError) -> str:
    """Returns the reason without the path, which `str` of an OSError repeats."""
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot be read: {reason or error}"
