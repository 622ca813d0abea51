"""Where the endpoint of a `pagoda run` listens: on this machine only, unless `--host` says otherwise."""

import errno
import ipaddress
import socket
from dataclasses import dataclass

from pagoda_cli.local.plan import LOCAL_HOSTS, PlanError

LOOPBACK = "127.0.0.1"
BACKLOG = 1024
PORTS_TRIED = 20


@dataclass(frozen=True, slots=True)
class PublicSocket:
    """A listening socket and the `--host` that it was made of."""

    listener: socket.socket
    host: str = LOOPBACK

    @property
    def fd(self) -> int:
        return self.listener.fileno()

    @property
    def address(self) -> str:
        """Returns the numeric address it listens on."""
        return str(self.listener.getsockname()[0])

    @property
    def is_local(self) -> bool:
        return ipaddress.ip_address(self.address).is_loopback

    @property
    def url(self) -> str:
        """Returns the URL for a client on this machine."""
        found = ipaddress.ip_address(self.address)
        if found.is_unspecified:
            found = ipaddress.ip_address(LOOPBACK if found.version == 4 else "::1")
        return f"http://{_in_url(str(found))}:{self.listener.getsockname()[1]}"

    @property
    def hosts(self) -> str | None:
        """Returns the names that a client may call it by; None: any, for who listens everywhere has many."""
        if self.is_local:
            return LOCAL_HOSTS
        if ipaddress.ip_address(self.address).is_unspecified:
            return None
        given = {self.host.lower()} if ":" not in self.host else set()
        return ",".join([LOCAL_HOSTS, *sorted({_in_url(self.address), *given})])


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def listen(port: int, host: str = LOOPBACK) -> PublicSocket:
    """Raises PlanError when nothing can listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
    except (OSError, UnicodeError) as error:
        raise PlanError(f"--host: {host!r} is no address: give one of this machine, or 0.0.0.0 for all") from error
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _explain(error, port, host) from error
    listener.setblocking(False)
    return PublicSocket(listener, host)


def _explain(error: OSError, port: int, host: str) -> PlanError:
    if error.errno == errno.EADDRNOTAVAIL:
        return PlanError(f"--host: {host} is no address of this machine: give one that is, or 0.0.0.0 for all")
    free = next((other for other in range(port + 1, min(port + PORTS_TRIED, 65536)) if _is_free(other)), None)
    fix = f"stop what listens there, or give another: --port {free}" if free else "give another port"
    return PlanError(f"--port: {port} cannot be had: {error.strerror}: {fix}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
