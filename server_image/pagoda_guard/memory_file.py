"""A file that has no place on a disk: what processes of one machine hand to each other, or write where others read."""

import os
import tempfile
from typing import BinaryIO


def open_memory(name: str, size: int = 0) -> BinaryIO:
    """Returns a file that children inherit, in memory where the system has such: a full disk then stops nobody."""
    create = getattr(os, "memfd_create", None)
    file: BinaryIO = tempfile.TemporaryFile() if create is None else os.fdopen(create(name), "w+b")  # noqa: SIM115
    os.ftruncate(file.fileno(), size)
    return file
