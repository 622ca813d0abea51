"""The operator's ports may be reached by anyone: connections are bounded and end, and a question is answered."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_guard.tasks import Tasks
from pagoda_operator.ports import CONNECTIONS, FIRST_REQUEST_SECONDS, IDLE_SECONDS, Port, build_app, refuse_in_text

QUESTION = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A port with one page, and a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.errors = 0
        self.tasks = Tasks()
        app = build_app(refuse_in_text, self._count)
        app.router.add_get("/page", self._page)
        self.port = Port(app, port=0, host="127.0.0.1", tasks=self.tasks, clock=lambda: self.now)

    def _count(self) -> None:
        self.errors += 1

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text="page")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port.number)

    async def ask(self, request: bytes = QUESTION) -> bytes:
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read(4096)
        writer.close()
        return answer


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.port.start()
    yield served
    await served.port.close()
    await served.tasks.stop()


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def has_ended(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(10):
            return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_a_thousand_silent_connections_are_bounded_and_a_question_is_still_answered(served: Served) -> None:
    held = [socket.create_connection(("127.0.0.1", served.port.number)) for _ in range(100)]
    for _ in range(9):
        held += [socket.create_connection(("127.0.0.1", served.port.number)) for _ in range(100)]
        await settle()
        assert served.port.connections <= CONNECTIONS
    assert b"page" in await served.ask()
    for connection in held:
        connection.close()


async def test_who_has_asked_stays_while_silent_ones_make_room(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(QUESTION)
    assert b"page" in await reader.read(4096)
    held = [await served.connect() for _ in range(2 * CONNECTIONS)]
    await settle()
    writer.write(QUESTION)
    assert b"page" in await reader.read(4096)
    assert await has_ended(held[0][0])
    for _, silent in [*held, (reader, writer)]:
        silent.close()


async def test_those_who_have_asked_cannot_keep_a_new_one_out(served: Served) -> None:
    held = [await served.connect() for _ in range(CONNECTIONS)]
    for reader, writer in held:
        writer.write(QUESTION)
        assert b"page" in await reader.read(4096)
    reader, writer = await served.connect()
    held += [await served.connect() for _ in range(CONNECTIONS // 4)]
    await settle()
    writer.write(QUESTION)
    assert b"page" in await reader.read(4096)
    for _, other in [*held, (reader, writer)]:
        other.close()


@pytest.mark.parametrize("start", [b"", b"GET /pa", QUESTION[:-2], QUESTION[:-2] + b"X-More: y\r\n"])
async def test_a_request_that_does_not_become_whole_ends_in_bounded_time(served: Served, start: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(start)
    await settle()
    served.now = FIRST_REQUEST_SECONDS
    served.port.end_overdue()
    await settle()
    assert served.port.connections == 1
    served.now += 0.1
    served.port.end_overdue()
    assert await has_ended(reader)
    writer.close()


async def test_an_idle_connection_ends_in_bounded_time(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(QUESTION)
    assert b"page" in await reader.read(4096)
    served.now = IDLE_SECONDS + 0.1
    served.port.end_overdue()
    assert await has_ended(reader)
    writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", b"405"),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n", b"413"),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
    ],
)
async def test_nothing_is_read_on_after_a_refusal(served: Served, request_: bytes, status: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(request_)
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 " + status)
    writer.close()


async def test_a_malformed_request_is_not_repeated_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await served.ask(b"GET /page HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-secret\x7f\x00\r\n\r\n")
    assert "request refused" in caplog.text and "sk-secret" not in caplog.text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_leave_the_port_serving(request_: bytes) -> None:
    async def attack() -> None:
        served = Served()
        await served.port.start()
        try:
            _, writer = await served.connect()
            writer.write(request_)
            await settle()
            writer.close()
            assert b"page" in await served.ask()
            assert served.errors == 0
        finally:
            await served.port.close()
            await served.tasks.stop()

    asyncio.run(attack())
