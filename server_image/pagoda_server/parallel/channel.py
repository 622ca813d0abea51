"""The unix socket between the leading rank and a follower: frames of msgpack, never pickle, and who ended.

Frames are those of `wire.py`, a 4-byte big-endian length and a body. Nothing here may import torch.
"""

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pagoda_server.wire import frame

T = TypeVar("T", bound=msgspec.Struct)
_encoder = msgspec.msgpack.Encoder(enc_hook=os.fspath)


class Channel:
    """One end. Raises ConnectionError when the other is gone, TimeoutError when it is silent for too long."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: msgspec.Struct) -> None:
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        self._connection.sendall(frame)

    def receive(self, kind: type[T], timeout_seconds: float | None = None) -> T:
        """Returns the next message. Raises `msgspec.MsgspecError` if it is none of that kind."""
        self._connection.settimeout(timeout_seconds)
        body = self._read(int.from_bytes(self._read(4), "big"))
        self._connection.settimeout(None)
        return msgspec.msgpack.decode(body, type=kind, dec_hook=_decode_path)

    def close(self) -> None:
        """Closes this end, and wakes who watches either."""
        with contextlib.suppress(OSError):  # the other end is gone
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _read(self, count: int) -> bytearray:
        data, view = bytearray(count), 0
        while view < count:
            read = self._connection.recv_into(memoryview(data)[view:])
            if read == 0:
                raise ConnectionError("the other rank closed its end")
            view += read
        return data


def encode(message: msgspec.Struct) -> bytes:
    """Returns a message's frame, to be sent to many."""
    return frame(_encoder.encode(message))


def watch(channels: Mapping[int, Channel], on_end: Callable[[int], None]) -> None:
    """Calls `on_end` with the key of the first channel whose other end closes, from a thread of its own."""
    poll = select.poll()
    keys = {channel.fileno(): key for key, channel in channels.items()}
    for descriptor in keys:
        poll.register(descriptor, select.POLLRDHUP)  # NB: data does not wake it
    threading.Thread(target=lambda: on_end(keys[poll.poll()[0][0]]), name="watch-ranks", daemon=True).start()


def end_at_once(code: int) -> None:
    """Ends the process. An orderly exit would wait for collectives with a rank that is gone."""
    logging.shutdown()
    os._exit(code)


def _decode_path(kind: type, value: Any) -> Path:
    if kind is not Path:
        raise NotImplementedError(f"{kind} is not sent between ranks")
    return Path(value)
