"""Clients that people have, each in an environment of its own, against a real `pagoda run` of the bundled model.

What a client is asked to do is in `programs`, in the client's own words; what must come of it, in `cases`. A program
runs once, when the first of its cases is asked for.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from tests.clients.cases import CHECKS
from tests.clients.environments import LIMIT_SECONDS, build_environ, install
from tests.clients.known import CLIENTS, Client
from tests.clients.server import serve_tiny

Outcomes = dict[str, dict[str, Any]]
CASES = [
    pytest.param(client, case, marks=() if client.is_light else pytest.mark.full, id=f"{client.name}-{case}")
    for client in CLIENTS
    for case in client.cases
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_tiny(tmp_path_factory.mktemp("run")) as url:
        yield url


@pytest.fixture(scope="module")
def try_client(url: str) -> Callable[[str], Outcomes]:
    clients = {client.name: client for client in CLIENTS}
    return cache(lambda name: run_program(clients[name], url))


def run_program(client: Client, url: str) -> Outcomes:
    """Returns what the client got, by the case."""
    with install(client) as command:
        done = subprocess.run(
            [*command, url], capture_output=True, text=True, timeout=LIMIT_SECONDS, env=build_environ()
        )
    said = done.stdout + done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case":')]
    assert done.returncode == 0, said
    outcomes = {one["case"]: one for one in told}
    assert set(outcomes) == set(client.cases), f"{client.program.name} and known.py name other cases:\n{said}"
    return outcomes


@pytest.mark.parametrize(("client", "case"), CASES)
def test_a_client_gets_what_it_asked_for(client: Client, case: str, try_client: Callable[[str], Outcomes]) -> None:
    if client.is_node and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no node, or no npm, in PATH")
    got = try_client(client.name)[case]
    assert "error" not in got, got["error"]
    CHECKS[case](got)
