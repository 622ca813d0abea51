"""Several fronts are one server: one socket, one page of metrics, one drain, one end."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pagoda_guard.termination import REFUSED
from tests.doubles.tiny_models import write_tokenizer

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
FRONTS = 3
LIMIT_SECONDS = 180
"""That nothing waits for ever; no claim about speed."""
BODY = {"model": "tiny", "prompt": [1, 2], "max_tokens": 4, "stream": True}


class Running:
    """A server's process, and a client on its socket that opens a connection for each request, as the gateway does."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder, self.process = folder, process
        connector = aiohttp.UnixConnector(str(folder / "server.sock"), force_close=True)
        self.http = aiohttp.ClientSession("http://server", connector=connector)

    def find(self, kind: str) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if kind.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @property
    def fronts(self) -> list[int]:
        return self.find("pagoda_server\0front")

    def open_gate(self) -> None:
        for engine in self.find("doubles.engine"):
            os.kill(engine, signal.SIGUSR1)

    async def stop(self) -> None:
        """As an operator would: killed, the server would leave its children behind."""
        if self.process.returncode is None:
            self.open_gate()
            self.process.terminate()
        async with asyncio.timeout(LIMIT_SECONDS):
            await self.process.wait()

    @property
    def last_line(self) -> str:
        """What a pod's status would show."""
        return (self.folder / "log").read_text().splitlines()[-1]

    async def ask(self, path: str) -> Any:
        async with self.http.get(path) as response:
            return response.status, await response.text()

    async def until(self, accept: Callable[[], Any]) -> Any:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not (value := await accept()):
                await asyncio.sleep(0.01)
        return value

    async def is_ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError, OSError):
            return bool((await self.ask("/ready"))[0] == 200)
        return False

    async def stream(self) -> aiohttp.ClientResponse:
        """An answer that has begun."""
        response = await self.http.post("/v1/completions", json=BODY)
        assert (await response.content.readline()).startswith(b"data: ")
        return response

    async def count(self, family: str) -> float:
        _, page = await self.ask("/metrics")
        families = {family.name: family for family in text_string_to_metric_families(page)}
        samples = families[f"pagoda_server_{family}"].samples if f"pagoda_server_{family}" in families else []
        return sum(sample.value for sample in samples if sample.name.endswith(("_total", "_count")))

    def streams_by_front(self) -> list[int]:
        """Sockets of each front, the waiting ones included."""
        return [len([fd for fd in Path(f"/proc/{pid}/fd").iterdir() if is_socket(fd)]) for pid in self.fronts]


def is_socket(descriptor: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(descriptor).startswith("socket:")
    return False


async def start(folder: Path, *, settled_seconds: int, stale_seconds: int = 600) -> asyncio.subprocess.Process:
    """What it says goes to the file `log`."""
    paths = os.pathsep.join(str(ROOT / name) for name in ("", "operator", "server_image"))
    command = [
        sys.executable,
        str(HERE / "server.py"),
        str(folder),
        str(FRONTS),
        str(settled_seconds),
        str(stale_seconds),
    ]
    with (folder / "log").open("wb") as log:
        return await asyncio.create_subprocess_exec(*command, stderr=log, env={**os.environ, "PYTHONPATH": paths})


@pytest.fixture
def stale_seconds() -> int:
    return 600


@pytest.fixture
async def server(tmp_path: Path, stale_seconds: int) -> AsyncIterator[Running]:
    write_tokenizer(tmp_path)
    process = await start(tmp_path, settled_seconds=0, stale_seconds=stale_seconds)
    running = Running(tmp_path, process)
    try:
        await running.until(running.is_ready)
        yield running
    finally:
        await running.http.close()
        await running.stop()


async def test_connections_are_spread_and_any_front_tells_the_sum(server: Running) -> None:
    idle = server.streams_by_front()
    answers = [await server.stream() for _ in range(4 * FRONTS)]
    busy = server.streams_by_front()
    assert all(after > before for before, after in zip(idle, busy, strict=True)), (idle, busy)
    assert await server.count("time_to_first_token_seconds") == 4 * FRONTS
    assert await server.count("request_success") == 0
    server.open_gate()
    for answer in answers:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    assert {await server.count("request_success") for _ in range(3 * FRONTS)} == {4 * FRONTS}


async def test_a_front_that_dies_takes_only_its_own_streams_and_comes_back(server: Running) -> None:
    answers = [await server.stream() for _ in range(4 * FRONTS)]
    before = server.fronts
    os.kill(before[0], signal.SIGKILL)

    async def is_replaced() -> bool:
        return len(server.fronts) == FRONTS and before[0] not in server.fronts

    await server.until(is_replaced)
    server.open_gate()
    ends = await asyncio.gather(*(answer.read() for answer in answers), return_exceptions=True)
    lost = [end for end in ends if not isinstance(end, bytes)]
    assert 0 < len(lost) < len(ends), "each front had some"
    assert await server.count("time_to_first_token_seconds") == 4 * FRONTS, "the dead front's counts stay"
    answer = await server.stream()
    assert (await answer.read()).endswith(b"data: [DONE]\n\n")


async def test_a_signal_lets_every_front_finish_its_streams(server: Running) -> None:
    answers = [await server.stream() for _ in range(4 * FRONTS)]
    server.process.terminate()

    async def is_refused() -> bool:
        return not await server.is_ready()

    await server.until(is_refused)
    assert server.process.returncode is None
    server.open_gate()
    for answer in answers:
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")
    assert await server.process.wait() == 0


async def test_a_front_that_refuses_to_start_ends_the_server_as_it_ended(tmp_path: Path) -> None:
    process = await start(tmp_path, settled_seconds=3600)  # there is no tokenizer
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await process.wait() == REFUSED
    last_line = (tmp_path / "log").read_text().splitlines()[-1]
    assert re.fullmatch(r"front \d ended with exit code 2: .*tokenizer\.json cannot be read: No such .*", last_line)


async def test_the_engines_end_is_the_servers(server: Running) -> None:
    answer = await server.stream()
    (engine,) = server.find("doubles.engine")
    os.kill(engine, signal.SIGKILL)
    assert b"engine_gone" in await answer.read()
    assert await server.process.wait() == 1
    assert server.last_line == "engine ended by signal 9 (out of memory?)"


async def test_fronts_end_with_the_server_however_it_ends(server: Running) -> None:
    fronts, engine = server.fronts, server.find("doubles.engine")
    server.process.kill()
    for front in fronts:
        await server.until(partial(has_ended, front))
    os.kill(engine[0], signal.SIGKILL)


async def has_ended(pid: int) -> bool:
    """A zombie has ended: who started it may be gone too."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


@pytest.mark.parametrize("stale_seconds", [5])
async def test_an_engine_that_is_stopped_is_ended_and_its_streams_end_in_words(server: Running) -> None:
    answers = [await server.stream() for _ in range(2 * FRONTS)]
    (engine,) = server.find("doubles.engine")
    os.kill(engine, signal.SIGSTOP)
    for answer in answers:
        assert b"engine_gone" in await answer.read()
    assert await server.process.wait() == 1
    assert server.last_line == "engine said nothing for 5 s and was killed"


@pytest.mark.parametrize("stale_seconds", [5])
async def test_a_front_that_is_stopped_is_ended_and_takes_only_its_own_streams(server: Running) -> None:
    answers = [await server.stream() for _ in range(4 * FRONTS)]
    stopped = server.fronts[0]
    os.kill(stopped, signal.SIGSTOP)

    async def is_replaced() -> bool:
        return len(server.fronts) == FRONTS and stopped not in server.fronts

    await server.until(is_replaced)
    server.open_gate()
    ends = await asyncio.gather(*(answer.read() for answer in answers), return_exceptions=True)
    assert 0 < sum(isinstance(end, bytes) and end.endswith(b"data: [DONE]\n\n") for end in ends) < len(ends)
    assert "said nothing for 5 s and was killed" in (server.folder / "log").read_text()
    assert server.process.returncode is None


@pytest.mark.parametrize("stale_seconds", [5])
async def test_an_engine_that_is_stopped_while_the_server_drains_keeps_it_no_longer(server: Running) -> None:
    answer = await server.stream()
    (engine,) = server.find("doubles.engine")
    os.kill(engine, signal.SIGSTOP)
    server.process.terminate()
    assert b"engine_gone" in await answer.read()
    assert await server.process.wait() == 0
