"""The engine behind its real unix socket."""

import asyncio
import contextlib
import dataclasses
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pagoda_server.engine.config import EngineConfig
from pagoda_server.process.engine import EngineFailed, EngineServer, listen_at, serve_engine
from pagoda_server.start.build import build_engine as build_real_engine
from pagoda_server.wire import (
    Abort,
    Deltas,
    FromEngine,
    Hello,
    Rejected,
    Sampling,
    Stats,
    Submit,
    Timing,
    ToEngine,
    decode_from_engine,
    encode_frame,
    frame,
)
from tests.unit.pagoda_server.conftest import BuildEngine, Generate, Models


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, message: ToEngine) -> None:
        self.writer.write(encode_frame(message))

    async def receive(self) -> FromEngine:
        length = int.from_bytes(await self.reader.readexactly(4), "big")
        return decode_from_engine(await self.reader.readexactly(length))

    async def receive_until(self, accept: Callable[[FromEngine], bool]) -> FromEngine:
        async with asyncio.timeout(20):
            while not accept(message := await self.receive()):
                pass
        return message

    async def receive_answer(self, request_id: str) -> tuple[list[int], str]:
        tokens: list[int] = []
        while True:
            message = await self.receive_until(lambda m: isinstance(m, Deltas))
            assert isinstance(message, Deltas)
            for delta in message.deltas:
                if delta.request_id == request_id:
                    tokens += delta.token_ids
                    if delta.finish_reason is not None:
                        return tokens, delta.finish_reason


@pytest.fixture
def config(models: Models, tmp_path: Path) -> EngineConfig:
    return EngineConfig(model=models["llama"][0], socket=tmp_path / "e.sock", device="cpu", kv_cache_bytes=4 << 20)


@contextlib.asynccontextmanager
async def run_process(config: EngineConfig) -> AsyncIterator[Callable[[], Any]]:
    ready = asyncio.Event()
    task = asyncio.create_task(serve_engine(config, on_ready=ready.set))
    clients: list[Client] = []

    async def connect() -> Client:
        client = Client(*await asyncio.open_unix_connection(str(config.socket)))
        clients.append(client)
        return client

    try:
        async with asyncio.timeout(30):
            await ready.wait()
        yield connect
    finally:
        for client in clients:
            client.writer.close()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_front_hears_hello_then_stats_then_its_own_answers(
    config: EngineConfig, build_engine: BuildEngine, generate: Generate
) -> None:
    sampling = Sampling(max_tokens=8, temperature=0.0)
    expected = generate(build_engine(), [[1, 2, 3], [9, 8]], sampling)
    async with run_process(config) as connect:
        first, second = await connect(), await connect()
        hello = await first.receive()
        assert isinstance(hello, Hello)
        at = hello.started_at_seconds
        assert hello == Hello(256, 256, 199, [], "cpu", "float32", hello.start_seconds, at, config.page_size, "float32")
        assert 0 < time.time() - at < 600
        phases = {"read_config", "open_device", "load_weights", "build_runner", "measure_capacity", "total"}
        assert hello.start_seconds.keys() == phases
        stats = await first.receive()
        assert isinstance(stats, Stats) and stats.ready and (stats.capacity_tokens_per_second or 0) > 0
        first.send(Submit("same-id", [1, 2, 3], sampling))
        second.send(Submit("same-id", [9, 8], sampling))
        assert await first.receive_answer("same-id") == (expected[0], "length")
        assert await second.receive_answer("same-id") == (expected[1], "length")
        served = await first.receive_until(lambda m: isinstance(m, Stats) and m.generation_tokens == 16)
        assert served.tokens_per_second == pytest.approx((5 + 16) / 5), "prompt and answer tokens over five seconds"
    assert not config.socket.exists()


async def test_a_traced_request_hears_its_times_on_its_own_connection(config: EngineConfig) -> None:
    sampling = Sampling(max_tokens=4, temperature=0.0)
    async with run_process(config) as connect:
        traced, other = await connect(), await connect()
        before = time.monotonic()
        traced.send(Submit("same-id", [1, 2, 3], sampling, is_traced=True))
        other.send(Submit("same-id", [9, 8], sampling))
        last = await traced.receive_until(lambda m: isinstance(m, Timing) and m.finished_at is not None)
        assert isinstance(last, Timing) and last.request_id == "same-id"
        told = [last.queued_at, last.started_at, last.first_token_at, last.finished_at]
        times = [before, *(at for at in told if at is not None), time.monotonic()]
        assert len(times) == 6 and times == sorted(times)
        assert (await traced.receive_answer("same-id"))[1] == "length", "the last delta comes behind"
        assert not isinstance(await other.receive_until(lambda m: isinstance(m, Timing | Deltas)), Timing)


def test_the_socket_has_its_name_only_when_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between bind and listen a connection is refused, and a busy machine may stop there for long."""
    path, named_before = tmp_path / "e.sock", []
    listen = socket.socket.listen

    def note_and_listen(listening: socket.socket, backlog: int) -> None:
        named_before.append(path.exists())
        listen(listening, backlog)

    monkeypatch.setattr(socket.socket, "listen", note_and_listen)
    for left_by_a_killed_engine in (path, path.with_suffix(".new")):
        left_by_a_killed_engine.touch()
    for _ in range(2):
        with listen_at(path), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert named_before == [False, False]


async def test_abort_ends_a_request_and_refusals_name_the_field(config: EngineConfig) -> None:
    async with run_process(config) as connect:
        client = await connect()
        client.send(Submit("long", [1], Sampling(max_tokens=255)))
        client.send(Abort("long"))
        assert (await client.receive_answer("long"))[1] == "abort"
        client.send(Submit("wide", [1], Sampling(max_tokens=999)))
        refusal = await client.receive_until(lambda m: isinstance(m, Rejected))
        assert refusal.request_id == "wide" and refusal.param == "max_tokens"
        assert "999" in refusal.message and "at most 255" in refusal.message


async def test_requests_of_a_closed_connection_are_aborted(config: EngineConfig) -> None:
    async with run_process(config) as connect:
        leaving, staying = await connect(), await connect()
        for index in range(200):
            leaving.send(Submit(str(index), [index % 199], Sampling(max_tokens=255, ignore_eos=True)))
        await leaving.receive_until(lambda m: isinstance(m, Deltas))
        leaving.writer.close()
        idle = await staying.receive_until(
            lambda m: isinstance(m, Stats) and m.steps > 0 and m.running == m.waiting == m.backlog_tokens == 0
        )
        assert idle.free_pages + idle.cached_pages == idle.total_pages
        assert idle.generation_tokens < 200 * 255


BAD_FRAMES = [b"", b"\xc1", b"\x82\xa4type\xa6submit\xa5other" + b"\x91" * 100_000, b"\x81\xa4type\xa5stats"]


@pytest.mark.parametrize("raw", [*map(frame, BAD_FRAMES), b"\xff\xff\xff\xff"], ids=range(5))
async def test_a_bad_frame_ends_its_connection_and_no_other(config: EngineConfig, raw: bytes) -> None:
    async with run_process(config) as connect:
        bad, good = await connect(), await connect()
        good.send(Submit("long", [1], Sampling(max_tokens=200, temperature=0.0)))
        bad.writer.write(raw)
        async with asyncio.timeout(20):
            await bad.reader.read()
        tokens, reason = await good.receive_answer("long")
        assert (len(tokens), reason) == (200, "length")


async def test_numbers_that_no_device_holds_are_refused_while_others_are_answered(config: EngineConfig) -> None:
    async with run_process(config) as connect:
        client = await connect()
        client.send(Submit("good", [1], Sampling(max_tokens=200, temperature=0.0)))
        absurd: dict[str, Any] = {
            "seed": 2**63,
            "top_k": 2**40,
            "temperature": 1e300,
            "stop_token_ids": (2**40,),
            "logprobs": 10**9,
        }
        for field, value in absurd.items():
            client.send(Submit(field, [1], Sampling(**{"max_tokens": 5, field: value})))
        refused: set[str | None] = set()
        while len(refused) < len(absurd):
            message = await client.receive_until(lambda m: isinstance(m, Rejected))
            assert isinstance(message, Rejected) and message.param == message.request_id
            refused.add(message.param)
        assert refused == absurd.keys()
        client.send(Submit("next", [1], Sampling(max_tokens=5, temperature=0.0)))
        assert (await client.receive_answer("next"))[1] == "length"


async def test_a_request_whose_turn_does_not_come_in_time_is_refused_as_overdue(config: EngineConfig) -> None:
    config = dataclasses.replace(config, max_num_seqs=1, max_wait_seconds=0.2)
    async with run_process(config) as connect:
        client = await connect()
        for index in range(40):
            client.send(Submit(str(index), [1], Sampling(max_tokens=255)))
        refusal = await client.receive_until(lambda m: isinstance(m, Rejected))
        assert isinstance(refusal, Rejected)
        assert (refusal.reason, refusal.param) == ("overdue", None)
        assert refusal.request_id.isdigit()


async def test_failed_step_ends_its_requests_and_repeated_failure_ends_the_engine(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = await asyncio.to_thread(build_real_engine, config)
    runner: Any = built.engine.runner
    failures = iter([True, False])
    forward = runner.forward

    def fail_sometimes(chunks: object) -> object:
        if next(failures, True):
            raise RuntimeError("device error")
        return forward(chunks)

    monkeypatch.setattr(runner, "forward", fail_sometimes)
    server, ready = EngineServer(built), asyncio.Event()
    task = asyncio.create_task(server.serve(config.socket, on_ready=ready.set))
    await ready.wait()
    client = Client(*await asyncio.open_unix_connection(str(config.socket)))
    one = Sampling(max_tokens=1)
    client.send(Submit("a", [1], one))
    assert await client.receive_answer("a") == ([], "error")
    client.send(Submit("b", [1], one))
    assert (await client.receive_answer("b"))[1] == "length"
    for name in ("c", "d"):
        client.send(Submit(name, [1], one))
        assert await client.receive_answer(name) == ([], "error")
    client.send(Submit("e", [1], one))
    async with asyncio.timeout(10):
        with pytest.raises(EngineFailed):
            await task
    client.writer.close()


async def test_stats_that_can_be_sent_no_longer_end_the_engine_with_the_reason(
    config: EngineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be unready for ever, and nobody would know why."""
    monkeypatch.setattr("pagoda_server.process.engine.STATS_SECONDS", 0.01)
    server, ready = EngineServer(await asyncio.to_thread(build_real_engine, config)), asyncio.Event()

    def fail(name: str, message: FromEngine) -> None:
        raise RuntimeError("cannot be encoded")

    monkeypatch.setattr(server, "_send", fail)
    task = asyncio.create_task(server.serve(config.socket, on_ready=ready.set))
    await ready.wait()
    _, writer = await asyncio.open_unix_connection(str(config.socket))
    server._writers["other"] = writer
    async with asyncio.timeout(30):
        with pytest.raises(EngineFailed, match="the engine's stats ended: RuntimeError.*cannot be encoded"):
            await task
    writer.close()
