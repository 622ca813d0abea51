"""Connections that do nothing, too little or too much, each let go in bounded time; the patient are not."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from pagoda_gateway.sidecar import Sidecar
from tests.doubles.model_server import Call, FakeModelServer
from tests.doubles.raw_client import connect, post, post_head

from .conftest import Client, Start, Until

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def sweep_at(gateway: Sidecar, seconds: float) -> None:
    """What the sweep would do so many seconds from now."""
    connections = gateway.connections
    now = connections._clock()
    connections._clock = lambda: now + seconds
    connections.sweep()


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET /health HTTP/1.1\r\nHost: x\r\nA: "])
async def test_connection_without_a_whole_head_is_closed(start: Start, until: Until, sent: bytes) -> None:
    gateway = await start(header_seconds=30.0)
    async with connect(gateway.port) as stranger:
        await stranger.send(sent)
        await until(lambda: gateway.connections.unread_bytes == len(sent) and len(gateway.connections) == 1)
        sweep_at(gateway, 29)
        assert len(gateway.connections) == 1
        sweep_at(gateway, 2)
        assert await stranger.ended() == b""
    await until(lambda: len(gateway.connections) == 0 and gateway.connections.unread_bytes == 0)
    assert b'connections_let_go_total{model_deployment="md"' in gateway.metrics.render()


async def test_kept_connection_is_closed_after_its_idle_time(start: Start) -> None:
    gateway = await start(idle_seconds=75.0)
    async with connect(gateway.port) as stranger:
        for _ in range(2):
            await stranger.send(GET)
            assert (await stranger.answer()).status == 200
        sweep_at(gateway, 74)
        assert len(gateway.connections) == 1
        sweep_at(gateway, 2)
        assert await stranger.ended() == b""


async def test_connection_with_a_request_is_never_idle(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(post())
        call = await server.next_call()
        sweep_at(gateway, 100_000)
        await call.answer(b"[]")
        assert (await stranger.answer()).body == b"[]"


async def test_request_gets_in_where_silent_connections_fill_the_gateway(start: Start) -> None:
    gateway = await start(max_connections=20)
    async with AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(connect(gateway.port))
        client = await stack.enter_async_context(connect(gateway.port))
        await client.send(GET)
        assert (await client.answer()).status == 200
        assert len(gateway.connections) == 20


async def test_connection_is_refused_in_words_where_all_are_busy(server: FakeModelServer, start: Start) -> None:
    gateway = await start(max_connections=1)
    async with connect(gateway.port) as busy:
        await busy.send(post())
        call = await server.next_call()
        async with connect(gateway.port) as refused:
            answer = await refused.answer()
            assert (answer.status, answer.code) == (503, "too_many_connections")
            assert await refused.ended() == b""
        await call.answer()
        assert (await busy.answer()).status == 200


async def test_admin_port_answers_while_the_public_one_is_full(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start(max_connections=1)
    async with connect(gateway.port) as busy:
        await busy.send(post())
        call = await server.next_call()
        assert (await client.session.get(f"http://127.0.0.1:{gateway.admin_port}/health")).status == 200
        await call.answer()


async def test_reader_that_takes_nothing_is_let_go_and_its_slot_is_the_next_ones(
    server: FakeModelServer, start: Start, until: Until
) -> None:
    gateway = await start(max_running=1, stalled_seconds=0.2)
    async with connect(gateway.port) as stalled, connect(gateway.port) as waiting:
        stalled.stop_reading()
        await stalled.send(post())
        call = await server.next_call()
        await call.start_stream()
        pouring = asyncio.ensure_future(pour(call))
        await waiting.send(post())
        await (await server.next_call()).answer()
        assert (await waiting.answer()).status == 200
        async with asyncio.timeout(5):
            await call.gone.wait()
        await asyncio.gather(pouring, return_exceptions=True)
    await until(lambda: gateway.queue.running == 0)
    assert b'reason="stalled"} 1.0' in gateway.metrics.render()


async def pour(call: Call) -> None:
    while True:
        await call.chunk(b"x" * 256 * 1024)


async def test_slow_reader_that_takes_something_stays(server: FakeModelServer, start: Start) -> None:
    """NB: the whole answer takes many times the limit; between two reads there is less of it."""
    gateway = await start(stalled_seconds=0.4)
    piece, count = b"x" * 256 * 1024, 64
    async with connect(gateway.port) as slow:
        await slow.send(post())
        call = await server.next_call()
        await call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count))
        pouring = asyncio.ensure_future(send_all(call, piece, count))
        await slow.head()
        for _ in range(count):
            assert len(await slow.reader.readexactly(len(piece))) == len(piece)
            await asyncio.sleep(0.02)
        await pouring


async def send_all(call: Call, piece: bytes, count: int) -> None:
    for _ in range(count):
        await call.send(piece)


async def test_stalled_reader_of_a_page_of_ours_is_let_go_too(
    server: FakeModelServer, start: Start, until: Until
) -> None:
    server.metrics_page = b"# x\n" * 2 * 1024 * 1024
    gateway = await start(stalled_seconds=0.2)
    async with connect(gateway.port) as stalled:
        stalled.stop_reading()
        for _ in range(4):
            await stalled.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: len(gateway.connections) == 1)
        await until(lambda: len(gateway.connections) == 0)


@pytest.mark.parametrize(
    "line", [b"A: " + b"x" * 9000, b"A: x\r\n" * 200, b"A: " + b"\r\nA: ".join([b"x" * 7000] * 20)]
)
async def test_head_that_is_too_large_is_431(start: Start, line: bytes) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line)
        answer = await stranger.answer()
        assert (answer.status, answer.code) == (431, "head_too_large")
        assert await stranger.ended() == b""


async def test_unfinished_heads_of_all_are_bounded_and_a_request_gets_in(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda_gateway.connections.UNREAD_LIMIT_BYTES", 100_000)
    gateway = await start()
    part = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"".join(
        b"A%d: %b\r\n" % (n, b"x" * 5000) for n in range(4)
    )
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await (await stack.enter_async_context(connect(gateway.port))).send(part)
        client = await stack.enter_async_context(connect(gateway.port))
        await client.send(GET)
        assert (await client.answer()).status == 200
        assert gateway.connections.unread_bytes <= 100_000


async def test_pipelined_requests_are_answered_in_turn_and_bounded(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post(b'{"n": 0}') + post(b'{"n": 1}') + GET)
        for number in range(2):
            call = await server.next_call()
            assert call.body == b'{"n": %d}' % number
            await call.answer(b"%d" % number)
            assert (await client.answer()).body == b"%d" % number
        assert (await client.answer()).status == 200


async def test_flood_behind_a_request_is_not_kept(server: FakeModelServer, start: Start, until: Until) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(post())
        call = await server.next_call()
        flooding = asyncio.ensure_future(stranger.send(GET * 500_000))
        await until(lambda: gateway.connections.unread_bytes > 64 * 1024)
        assert not flooding.done() and gateway.connections.unread_bytes < 1024 * 1024
        await call.answer()
        assert (await stranger.answer()).status == 200
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


async def test_http_10_is_served(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post(version="1.0"))
        await (await server.next_call()).answer(b"[]")
        assert (await client.answer()).body == b"[]"
        assert await client.ended() == b""


async def test_body_cut_short_is_no_request(server: FakeModelServer, start: Start, until: Until) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(post_head("Content-Length: 10") + b"half")
        client.writer.write_eof()
        assert await client.ended() == b""
    await until(lambda: gateway.drain.in_flight == 0)
    assert server.calls.empty()
