"""Ids of files and batches, and where each lies in the store: below its tenant, whose name no other one can say.

An id begins with its time, so that a list sorted by name is sorted by age.
"""

import re
from hashlib import blake2b
from secrets import token_hex

ID = re.compile(r"(file|batch)-([0-9a-f]{12})([0-9a-f]{16})", re.ASCII)
ACTIVE = "active"


def build_id(kind: str, now: float) -> str:
    return f"{kind}-{int(now * 1000):012x}{token_hex(8)}"


def build_derived_id(kind: str, now: float, source: str) -> str:
    """Returns the same id for the same source at the same time: who writes a file again writes that file."""
    return f"{kind}-{int(now * 1000):012x}{blake2b(source.encode(), digest_size=8).hexdigest()}"


def read_age(name: str, now: float) -> float:
    """Returns the seconds since an id was made; 0 for what is none."""
    found = ID.match(name)
    return max(now - int(found[2], 16) / 1000, 0.0) if found else 0.0


def is_id(kind: str, text: str) -> bool:
    found = ID.fullmatch(text)
    return found is not None and found[1] == kind


def files_of(tenant: str) -> str:
    return f"files/{tenant}"


def file_record(tenant: str, file_id: str) -> str:
    return f"files/{tenant}/{file_id}.record"


def file_content(tenant: str, file_id: str) -> str:
    return f"files/{tenant}/{file_id}.content"


def batches_of(tenant: str) -> str:
    return f"batches/{tenant}"


def batch_part(tenant: str, batch_id: str, part: str) -> str:
    return f"batches/{tenant}/{batch_id}/{part}"


def journal(tenant: str, batch_id: str, part: str = "") -> str:
    """Returns where the journals of a batch lie: beside the batches, for in a bucket they are many objects."""
    return f"journals/{tenant}/{batch_id}" + (f"/{part}" if part else "")


def active_mark(tenant: str, batch_id: str) -> str:
    """Returns the name of an empty object that is there while a batch is not at its end."""
    return f"{ACTIVE}/{tenant}/{batch_id}"


def split_mark(name: str) -> tuple[str, str]:
    """Returns the tenant and the batch of such a mark."""
    _, tenant, batch_id = name.split("/")
    return tenant, batch_id
