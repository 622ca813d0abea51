"""Process 1 of a container is told to end, and does, however early it is told."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'server_image'}"}
PROGRAM = """
import signal, sys
from pagoda_guard.termination import end_on_sigterm
if sys.argv[1] == "with a handler":
    end_on_sigterm()
signal.signal(signal.SIGUSR1, lambda *_: sys.exit())
print("started", flush=True)
signal.pause()
"""


@pytest.fixture
def process_one(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program as process 1 of a namespace, and its id out here."""
    command = ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", PROGRAM, request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as outer:
        assert outer.stdout is not None and outer.stdout.readline() == "started\n"
        (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        yield outer, int(inner)
        outer.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a namespace of process ids")
@pytest.mark.parametrize("process_one", ["with a handler"], indirect=True)
def test_process_one_ends_when_it_is_told_to(process_one: tuple[subprocess.Popen[str], int]) -> None:
    outer, inner = process_one
    os.kill(inner, signal.SIGTERM)
    assert outer.wait(30) == 128 + signal.SIGTERM


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a namespace of process ids")
@pytest.mark.parametrize("process_one", ["without"], indirect=True)
def test_without_a_handler_process_one_would_not_hear_it(process_one: tuple[subprocess.Popen[str], int]) -> None:
    outer, inner = process_one
    os.kill(inner, signal.SIGTERM)
    os.kill(inner, signal.SIGUSR1)
    assert outer.wait(30) == 0, "SIGTERM came first and was not delivered"


@pytest.mark.parametrize("module", ["pagoda_gateway.__main__", "pagoda_server.__main__", "pagoda_operator.__main__"])
def test_a_program_sets_its_handler_before_it_imports_what_is_slow(module: str) -> None:
    slow = {"aiohttp", "kopf", "kubernetes", "torch", "uvloop"}
    program = f"import sys, {module}; print(*sorted({slow} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert ran.stdout.split() == []
    assert "    end_on_sigterm()\n" in (ROOT / find_source(module)).read_text()


def find_source(module: str) -> str:
    package, _, name = module.partition(".")
    return f"{'operator' if package == 'pagoda_operator' else 'server_image'}/{package}/{name}.py"
