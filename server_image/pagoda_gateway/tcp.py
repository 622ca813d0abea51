"""What the kernel knows of a connection."""

import asyncio
import fcntl
import socket
import struct
import termios

CLOSED = 7
"""`tcpi_state` of Linux once a reset has come."""


def is_tcp(connection: socket.socket) -> bool:
    return connection.family in (socket.AF_INET, socket.AF_INET6)


def is_reset(connection: socket.socket) -> bool:
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == CLOSED
    except OSError:
        return True


def count_unacknowledged(transport: asyncio.Transport) -> int:
    """Returns how many bytes the kernel still holds for the other end."""
    connection = transport.get_extra_info("socket")
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (AttributeError, OSError):
        return 0


class Progress:
    """Whether the other end takes what it was sent, between one look and the next."""

    def __init__(self) -> None:
        self._untaken_bytes = 0

    def look(self, transport: asyncio.Transport) -> bool:
        """Returns whether the other end took bytes since the last look.

        NB: the kernel's buffer counts too, or a slow reader behind a large one would seem to stand still.
        """
        if not (untaken := transport.get_write_buffer_size()):
            return False
        before, self._untaken_bytes = self._untaken_bytes, untaken + count_unacknowledged(transport)
        return self._untaken_bytes != before
