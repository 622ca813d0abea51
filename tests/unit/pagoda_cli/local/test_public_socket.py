"""Where the endpoint listens, by which names it is called there, and what is said where it cannot."""

import socket
from collections.abc import Iterator

import pytest

from pagoda_cli.local.plan import LOCAL_HOSTS, PlanError
from pagoda_cli.local.public_socket import PublicSocket, find_free_port, listen


@pytest.fixture
def sockets() -> Iterator[list[PublicSocket]]:
    opened: list[PublicSocket] = []
    yield opened
    for one in opened:
        one.listener.close()


def test_it_is_this_machine_only_unless_it_is_told(sockets: list[PublicSocket]) -> None:
    port = find_free_port()
    sockets.append(listen(port))
    assert (sockets[0].url, sockets[0].is_local, sockets[0].hosts) == (f"http://127.0.0.1:{port}", True, LOCAL_HOSTS)


def test_every_address_has_any_name(sockets: list[PublicSocket]) -> None:
    port = find_free_port()
    sockets.append(listen(port, "0.0.0.0"))
    assert (sockets[0].url, sockets[0].is_local, sockets[0].hosts) == (f"http://127.0.0.1:{port}", False, None)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_address_of_the_newer_kind_stands_in_brackets(sockets: list[PublicSocket]) -> None:
    port = find_free_port()
    try:
        sockets.append(listen(port, "::1"))
    except PlanError:
        pytest.skip("this machine has no ::1")
    assert (sockets[0].url, sockets[0].is_local) == (f"http://[::1]:{port}", True)


def test_another_address_is_called_by_itself_and_by_the_name_that_was_given() -> None:
    class Listener:
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.7", 8000

    public = PublicSocket(Listener(), "Box.example")  # type: ignore[arg-type]
    assert public.hosts == f"{LOCAL_HOSTS},192.0.2.7,box.example"
    assert public.url == "http://192.0.2.7:8000"


def test_a_taken_port_is_answered_with_a_free_one(sockets: list[PublicSocket]) -> None:
    port = find_free_port()
    sockets.append(listen(port))
    with pytest.raises(PlanError, match=rf"--port: {port} cannot be had: .* or give another: --port \d+"):
        listen(port)


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.7", "--host: 192.0.2.7 is no address of this machine"),
        ("not an address", "--host: 'not an address' is no address"),
    ],
)
def test_an_address_that_is_not_here_is_refused(host: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        listen(find_free_port(), host)
