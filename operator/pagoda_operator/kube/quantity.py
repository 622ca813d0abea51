"""Sizes as Kubernetes writes them."""

import re

FACTORS = {"k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SIZE = re.compile(rf"([0-9]{{1,15}})({'|'.join(FACTORS)})?")


def parse_bytes(size: str) -> int:
    """Returns the bytes of a whole size such as 500Gi. Raises ValueError for anything else."""
    found = SIZE.fullmatch(size)
    if found is None:
        raise ValueError(f"{size!r} is no size: give a whole number, with {', '.join(FACTORS)} or nothing behind it")
    return int(found[1]) * FACTORS.get(found[2] or "", 1)
