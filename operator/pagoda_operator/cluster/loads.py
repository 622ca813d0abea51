"""Asks one pod what it serves. Who answers may be anybody: what comes is a Load or one `BadInput`, within fixed bounds.

NB: no HTTP library here. One that decodes, follows, pools or waits for more is what a hostile answer would use; this
asks one question, reads a fixed number of bytes in a fixed time, and hangs up.
"""

import asyncio
import ipaddress
import re
import socket

import msgspec

from pagoda_guard.parsing import BadInput, parse_json
from pagoda_operator.plan.loads import MEASURED, OBSERVED, Load

ANSWER_LIMIT_BYTES = 64 * 1024
"""The maximum size of one answer, its head included."""
TIMEOUT_SECONDS = 2.0
"""The maximum time of one answer, from connecting to its last byte."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")
_HEAD_END = b"\r\n\r\n"


def parse_load(raw: bytes) -> Load:
    """Returns what a gateway said. Raises BadInput for an answer that lacks a figure or has one that cannot be."""
    load = parse_json(raw, Load, limit_bytes=ANSWER_LIMIT_BYTES)
    source = OBSERVED if load.capacity_source == OBSERVED else MEASURED
    return load if load.capacity_source == source else msgspec.structs.replace(load, capacity_source=source)


async def read_load(ip: str, port: int) -> Load:
    """Returns what the gateway at that address says.

    Raises BadInput, OSError or TimeoutError, within `TIMEOUT_SECONDS`.
    """
    async with asyncio.timeout(TIMEOUT_SECONDS):
        received = await _ask(ip, port)
    return parse_load(body_of(received))


async def _ask(ip: str, port: int) -> bytes:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise BadInput("the pod's address is no IP address") from None
    host = f"[{address}]" if address.version == 6 else str(address)
    request = f"GET /load HTTP/1.1\r\nHost: {host}:{port}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (str(address), port))
        await loop.sock_sendall(connection, request.encode())
        received = bytearray()
        while wanted := missing_bytes(received):
            piece = await loop.sock_recv(connection, wanted)
            if not piece:
                break
            received += piece
    return bytes(received)


def missing_bytes(received: bytes | bytearray) -> int:
    """Returns how many more bytes may be read.

    That is 0 once the answer is whole, has reached its limit, or cannot be one of ours.
    """
    if received[:5] != b"HTTP/"[: len(received)]:
        return 0
    head_end = received.find(_HEAD_END)
    if head_end < 0:
        return ANSWER_LIMIT_BYTES - len(received)
    try:
        length = _content_length(bytes(received[: head_end + 2]))
    except BadInput:
        return 0
    whole = ANSWER_LIMIT_BYTES if length is None else min(ANSWER_LIMIT_BYTES, head_end + len(_HEAD_END) + length)
    return max(0, whole - len(received))


def body_of(received: bytes) -> bytes:
    """Returns the body of a whole, plain 200.

    Raises BadInput for anything else: encoded, chunked, redirected, cut, too long.
    """
    head, end, body = received.partition(_HEAD_END)
    if not end:
        raise BadInput("not an HTTP answer with a head" if received else "no answer")
    length = _content_length(head + b"\r\n")
    size = len(body) if length is None else length
    if len(head) + len(end) + size >= ANSWER_LIMIT_BYTES:
        raise BadInput(f"the answer has {ANSWER_LIMIT_BYTES} bytes or more")
    if len(body) < size:
        raise BadInput(f"the answer ends after {len(body)} of {size} bytes")
    return body[:size]


def _content_length(head: bytes) -> int | None:
    """Returns the length that a head states, which includes its last line's end.

    None where the body ends with the connection. Raises BadInput.
    """
    status = _STATUS.match(head)
    if status is None:
        raise BadInput("not an HTTP/1 answer")
    if status[1] != b"200":
        raise BadInput(f"status {status[1].decode()}")
    lengths: set[bytes] = set()
    for line in head[status.end() :].split(b"\r\n"):
        name, _, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if name == b"transfer-encoding" or (name == b"content-encoding" and value.lower() != b"identity"):
            raise BadInput(f"the answer is encoded: {name.decode()}")
        if name == b"content-length":
            lengths.add(value)
    if not lengths:
        return None
    length = lengths.pop()
    if lengths or not re.fullmatch(rb"[0-9]{1,9}", length):
        raise BadInput("content-length is not one number")
    return int(length)
