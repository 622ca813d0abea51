"""When a gateway takes the next connection from a socket that others share: `pagoda run` gives one to all its replicas.

The busier gateway leaves it to the others for longer, so that of idle and busy ones an idle one takes it.
"""

import socket

from pagoda_gateway.connections import Connections
from pagoda_guard.shared_listener import SharedListener

DELAY_SECONDS = 0.0005
LONGEST_DELAY_SECONDS = 0.005


def accept_delay_seconds(open_connections: int) -> float:
    """Returns how long a gateway with so many connections leaves the next one to the others."""
    return min(open_connections * DELAY_SECONDS, LONGEST_DELAY_SECONDS)


def build_shared_listener(fd: int, connections: Connections) -> SharedListener:
    """Returns a listener on an inherited socket that accepts nothing yet; `connections` are this gateway's."""

    def find_delay_seconds() -> float:
        return accept_delay_seconds(len(connections) + shared.handing_over)

    shared = SharedListener(socket.socket(fileno=fd), find_delay_seconds)
    return shared
