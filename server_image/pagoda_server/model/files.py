"""The files of a model's folder: a stranger wrote them, so each is a plain file of bounded size or one error.

No message repeats what a file holds before it has parsed.
"""

from pathlib import Path
from typing import TypeVar

from pagoda_guard.files import BadFile, is_plain_file, read_plain_file
from pagoda_guard.parsing import BadInput, parse_json
from pagoda_guard.showing import shorten

T = TypeVar("T")
REFETCH = "fetch the model again"


class UnsupportedModel(ValueError):
    """The model folder cannot be served; the message names the field, the value and what is supported."""


def has_file(path: Path) -> bool:
    """Returns whether there is one. Raises `UnsupportedModel` for what is no plain file, or cannot be told."""
    try:
        return is_plain_file(path)
    except BadFile as error:
        raise UnsupportedModel(f"{shorten(str(path))} {error}; {REFETCH}") from error


def read_json(path: Path, kind: type[T], *, limit_bytes: int) -> T:
    """Returns the file's JSON as `kind`. Raises `UnsupportedModel` that names the file."""
    if not has_file(path):
        raise UnsupportedModel(f"{path} is missing; {REFETCH}")
    try:
        return parse_json(read_plain_file(path, limit_bytes=limit_bytes), kind, limit_bytes=limit_bytes)
    except BadFile as error:
        raise UnsupportedModel(f"{path} {error}; {REFETCH}") from error
    except BadInput as error:
        raise UnsupportedModel(f"{path} is not the JSON it should be: {error}; {REFETCH}") from error
