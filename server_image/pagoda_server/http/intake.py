"""Where a body is read, checked and encoded: a small one on the event loop, a large one beside it.

Streams share that loop, and encoding a megabyte takes a second or more; a thread is reached in 50 µs. The encoder lets
other threads run. What does not (JSON, validation, the template) is bounded by the body's size and ends at the first
error.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

INLINE_BYTES = 2048
"""A millisecond or two of encoding on a slow core, below the time between two tokens; `bench/large_bodies.py`."""
Read = TypeVar("Read")


async def read_body(raw: bytes, read: Callable[[bytes], Read]) -> Read:
    """`read` must be pure: nobody waits for it when the client has gone away."""
    if len(raw) <= INLINE_BYTES:
        return read(raw)
    return await asyncio.to_thread(read, raw)
