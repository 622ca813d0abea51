"""Every setting of the gateway in one frozen value, so that nothing else reads flags or the environment.

Only `__main__` builds one. A bad value stops the process with its name.
"""

import math
from dataclasses import dataclass
from pathlib import Path

ABOVE_ZERO = (
    *("max_wait_seconds", "backlog_drain_seconds", "ping_seconds", "body_seconds", "header_seconds", "idle_seconds"),
    *("stalled_seconds", "max_body_bytes", "max_body_bytes_total"),
)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        host, colon, port = text.rpartition(":")
        if not (host and colon and port.isdecimal() and int(port) < 65536):
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host=host.strip("[]"), port=int(port))


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening socket that the parent process opened and gave to this one, and to other gateways too."""

    fd: int


def parse_listen(text: str) -> Address | InheritedSocket:
    scheme, separator, fd = text.partition("://")
    if not separator:
        return Address.parse(text)
    if scheme != "fd" or not fd.isdecimal():
        raise ValueError(f"{text!r} is neither HOST:PORT nor fd://NUMBER")
    return InheritedSocket(int(fd))


def parse_hosts(text: str) -> frozenset[str]:
    """Names without ports, with commas between them."""
    return frozenset(name.strip().lower() for name in text.split(",")) - {""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: Address | InheritedSocket
    """An inherited socket is shared: this gateway accepts from it only while it can serve."""
    admin: Address
    upstream: Path
    """The model server's unix socket."""
    model_name: str
    namespace: str
    model_deployment: str
    max_queued: int
    """Sequences: a request counts once for each of its prompts x n."""
    max_queued_tokens: int
    max_wait_seconds: float
    backlog_drain_seconds: float
    api_keys_dir: Path | None = None
    """None: no authentication. An empty directory, or one that cannot be read any more: everyone is refused."""
    max_body_bytes: int = 4 * 1024 * 1024
    max_running: int = 0
    """Sequences at the server. 0: what it says in `max_num_seqs`."""
    ping_seconds: float = 15.0
    drain_grace_seconds: float = 8.0
    """The shortest drain; new requests are taken until it ends, as other nodes learn late of an unready endpoint."""
    shared_drain_grace_seconds: float = 2.0
    """At most so long at a shared socket, which is left at once: for the connections that are still open."""
    poll_seconds: float = 1.0
    shared_poll_seconds: float = 0.2
    """Instead, at a shared socket: until it is seen that the server is gone, requests are taken and refused."""
    keys_poll_seconds: float = 3.0
    body_seconds: float = 60.0
    """How long a client may take to send its body; more when it sends steadily."""
    max_body_bytes_total: int = 64 * 1024 * 1024
    """Bytes of bodies in memory, over all requests that are being read or wait."""
    header_seconds: float = 30.0
    """How long a client may take to send a request's head, from when its connection opened or the head began."""
    idle_seconds: float = 75.0
    """How long a connection is kept between two requests: longer than nginx keeps its own, 60 s."""
    stalled_seconds: float = 60.0
    """How long a client may take no byte of its answer while there are some."""
    max_connections: int = 0
    """0: 16,384, or half of what the process may open when that is less."""
    allowed_hosts: frozenset[str] | None = None
    """Names that Host and Origin may have, beside this machine's own; None: any."""

    def __post_init__(self) -> None:
        for name in ("max_queued", "max_queued_tokens", "max_running", "max_connections", "drain_grace_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more")
        for name in ABOVE_ZERO:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give more than 0")
