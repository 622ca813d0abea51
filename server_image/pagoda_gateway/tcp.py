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
    """Bytes that the kernel still holds for the other end."""
    connection = transport.get_extra_info("socket")
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (AttributeError, OSError):
        return 0
