"""The ranks of an engine live and end together."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from pagoda_server.parallel.group import leave_group
from pagoda_server.start.build import BuiltEngine
from pagoda_server.wire import Deltas, FromEngine, Hello, Sampling, Submit, decode_from_engine, encode_frame

LIMIT_SECONDS = 60


class EngineProcess:
    def __init__(self, process: asyncio.subprocess.Process, socket: Path, log: Path) -> None:
        self.process, self.socket, self._log = process, socket, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def followers(self) -> list[int]:
        """The ranks among its children: the process that tries grammars is one, too."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [pid for path in children for pid in path.read_text().split()]
        return [int(pid) for pid in pids if b"engine-rank" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while not self.socket.exists():
            assert self.process.returncode is None, self.log
            await asyncio.sleep(0.05)
        return await asyncio.open_unix_connection(str(self.socket))


Run = Callable[..., AbstractAsyncContextManager[EngineProcess]]


@pytest.fixture
def run(models: dict[str, Path], tmp_path: Path) -> Run:
    @asynccontextmanager
    async def run_engine(ranks: int = 2) -> AsyncIterator[EngineProcess]:
        socket, log = tmp_path / "engine.sock", tmp_path / "log"
        flags = {"model": models["pagoda-tiny"], "socket": socket, "device": "cpu", "tensor-parallel": ranks}
        command = [sys.executable, "-m", "pagoda_server", "engine", "--max-num-seqs=4", "--max-batched-tokens=32"]
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, *(f"--{name}={value}" for name, value in flags.items()), stdout=file, stderr=file
            )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                yield EngineProcess(process, socket, log)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return run_engine


async def receive(reader: asyncio.StreamReader) -> FromEngine:
    length = int.from_bytes(await reader.readexactly(4), "big")
    return decode_from_engine(await reader.readexactly(length))


async def ended(pid: int) -> None:
    """A zombie has ended: who started it may be gone too."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        await asyncio.sleep(0.02)


async def start_answer(engine: EngineProcess, max_tokens: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await engine.connect()
    assert isinstance(await receive(reader), Hello)
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
    writer.write(encode_frame(Submit("a", list(range(5, 25)), sampling)))
    while not isinstance(await receive(reader), Deltas):
        pass
    return reader, writer


@pytest.mark.parametrize("when", ["idle", "in the middle of an answer"])
async def test_a_killed_rank_ends_the_engine_and_the_log_says_which(when: str, run: Run) -> None:
    async with run() as engine:
        _, writer = await start_answer(engine, 1 if when == "idle" else 2000)
        (follower,) = engine.followers
        os.kill(follower, signal.SIGKILL)
        assert await engine.process.wait() == 1
        writer.close()
        assert f"a rank ended, and the engine with it rank=1 pid={follower} code=-9" in engine.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_ranks_end_with_the_engine(number: signal.Signals, run: Run) -> None:
    async with run() as engine:
        _, writer = await start_answer(engine, 2000)
        (follower,) = engine.followers
        engine.process.send_signal(number)
        await engine.process.wait()
        await ended(follower)
        writer.close()


async def test_a_number_that_does_not_divide_the_heads_ends_it_with_the_fix(run: Run) -> None:
    async with run(ranks=3) as engine:
        assert await engine.process.wait() != 0
        assert "tensor_parallel is 3, which does not divide the model's num_attention_heads 8" in engine.log
        assert engine.log.count("rank=") == 0


def test_the_file_at_which_ranks_met_outlives_their_group(
    build: Callable[..., BuiltEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL's monitor reads it until the end; were it gone, the engine would wait minutes for it before it ends."""
    existed: list[bool] = []

    def leave(*, orderly: bool) -> None:
        existed.append(Path("engine.ranks").exists())
        leave_group(orderly=orderly)

    monkeypatch.setattr("pagoda_server.start.build.leave_group", leave)
    build("pagoda-tiny", 2, measure_capacity=False).close()
    assert existed == [True] and not Path("engine.ranks").exists()
