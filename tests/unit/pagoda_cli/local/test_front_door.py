"""The public port of a run answers this machine only, also while no replica is ready."""

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from pagoda_cli.local.front_door import FrontDoor, is_from_here
from pagoda_cli.local.public_socket import listen


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1", "127.0.0.2"])
def test_names_of_this_machine_are_served(host: str) -> None:
    assert is_from_here(host, None) and is_from_here(host, f"http://{host}")


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil", "a@localhost", "0"])
def test_other_names_are_not(host: str) -> None:
    assert not is_from_here(host, None)
    assert not is_from_here("localhost", f"http://{host}") and not is_from_here("localhost", "null")


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    door = FrontDoor(listen(port), lambda: [], lambda ready, count: None)
    await door.start()
    yield door
    await door.stop()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 503, "not_ready"),
        ({"Host": "evil.example"}, 403, "forbidden_host"),
        ({"Origin": "https://evil.example"}, 403, "forbidden_host"),
        ({"Origin": "http://localhost:3000"}, 503, "not_ready"),
    ],
)
async def test_a_page_of_another_site_is_turned_away_for_good(
    door: FrontDoor, headers: dict[str, str], status: int, code: str
) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{door.public.url}/v1/x", headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (status, code)
