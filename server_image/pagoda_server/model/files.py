"""The files of a model's folder: a stranger wrote them, so each is a plain file of bounded size or one error.

NB: links are followed, for `pagoda fetch file://` makes them; a link to a device or a pipe is refused, and no message
repeats what a file holds before it has parsed.
"""

import stat
from pathlib import Path
from typing import TypeVar

from pagoda_guard.parsing import BadInput, parse_json
from pagoda_guard.showing import shorten

T = TypeVar("T")
REFETCH = "fetch the model again"


class UnsupportedModel(ValueError):
    """The model folder cannot be served; the message names the field, the value and what is supported."""


def has_file(path: Path) -> bool:
    """Whether there is one. Raises `UnsupportedModel` for what is there and is no plain file, or cannot be told."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise UnsupportedModel(f"{shorten(str(path))} cannot be read: {_reason(error)}; {REFETCH}") from error
    if not stat.S_ISREG(mode):
        raise UnsupportedModel(f"{path} is no plain file; {REFETCH}")
    return True


def read_json(path: Path, kind: type[T], *, limit_bytes: int) -> T:
    """Raises `UnsupportedModel` that names the file."""
    if not has_file(path):
        raise UnsupportedModel(f"{path} is missing; {REFETCH}")
    try:
        with path.open("rb") as file:
            raw = file.read(limit_bytes + 1)
    except OSError as error:
        raise UnsupportedModel(f"{path} cannot be read: {_reason(error)}; {REFETCH}") from error
    if len(raw) > limit_bytes:
        raise UnsupportedModel(f"{path} has more than {limit_bytes} bytes; no model needs so many: {REFETCH}")
    try:
        return parse_json(raw, kind, limit_bytes=limit_bytes)
    except BadInput as error:
        raise UnsupportedModel(f"{path} is not the JSON it should be: {error}; {REFETCH}") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
