"""The id by which a client, the server and the logs speak of one request."""

import asyncio
import logging

import pytest

from pagoda_gateway.failure_log import LINES_A_SECOND
from pagoda_guard.request_id import choose_request_id
from tests.doubles.clock import Clock
from tests.doubles.model_server import FakeModelServer
from tests.doubles.raw_client import connect

from .conftest import Client, Start


@pytest.mark.parametrize("wish", ["a", "req_1", "x" * 128, "!~:/{}"])
def test_a_well_formed_id_is_taken(wish: str) -> None:
    assert choose_request_id(wish) == wish


@pytest.mark.parametrize("wish", [None, "", "x" * 129, "a b", "a\tb", "é", "a\x7f", "a\n"])
def test_any_other_is_replaced(wish: str | None) -> None:
    made = choose_request_id(wish)
    assert made != wish and made.startswith("req_") and len(made) == 28
    assert made != choose_request_id(wish)


@pytest.mark.parametrize("streams", [True, False])
async def test_the_server_is_told_the_id_that_the_answer_bears(
    server: FakeModelServer, start: Start, client: Client, streams: bool
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, headers={"x-request-id": "mine-7"}))
    call = await server.next_call()
    assert call.headers["x-request-id"] == "mine-7"
    if streams:
        await call.start_stream()
        await call.end_stream()
    else:
        await call.send(b"HTTP/1.1 200 OK\r\nX-Request-Id: other\r\nContent-Length: 2\r\n\r\n{}")
        call.writer.close()
    response = await asked
    assert response.headers.getall("X-Request-Id") == ["mine-7"]
    await response.read()


@pytest.mark.parametrize("path", ["/health", "/nothing", "/v1/models", "/v1/messages"])
async def test_every_answer_bears_an_id(start: Start, client: Client, server: FakeModelServer, path: str) -> None:
    gateway = await start()
    await server.stop()
    response = await client.get(gateway, path)
    assert response.headers["X-Request-Id"].startswith("req_")
    same = response.headers["X-Request-Id"] if path == "/v1/messages" else None
    assert response.headers.get("Request-Id") == same


async def test_what_is_no_request_is_answered_with_an_id(start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as client:
        await client.send(b"NO SENSE\r\n\r\n")
        answer = await client.answer()
    assert (answer.status, answer.headers["x-request-id"][:4]) == (400, "req_")


async def test_a_failed_request_is_one_line_of_the_log_by_its_id(
    server: FakeModelServer, start: Start, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway = await start()
    asked = asyncio.create_task(
        client.post(gateway, {"prompt": "secret words"}, headers={"X-Request-Id": "r1", "Authorization": "Bearer k3y"})
    )
    await (await server.next_call()).answer(b'{"error": {"code": "mine"}}', status=400)
    assert (await asked).status == 400
    await client.session.post(f"http://127.0.0.1:{gateway.port}/v1/completions", headers={"Content-Encoding": "br"})
    await client.get(gateway, "/ready")
    lines = [record.getMessage() for record in caplog.records if record.name == "pagoda_gateway.failure_log"]
    assert lines[0] == "request failed request_id=r1 status=400 code=server method=POST route=/v1/completions"
    assert "code=unsupported_content_encoding" in lines[1] and len(lines) == 2
    assert "secret words" not in caplog.text and "k3y" not in caplog.text


async def test_a_stream_that_breaks_is_in_the_log_though_its_status_is_200(
    server: FakeModelServer, start: Start, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, {"stream": True}))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    call.writer.close()
    response = await asked
    await response.read()
    (line,) = [record for record in caplog.records if record.name == "pagoda_gateway.failure_log"]
    assert f"request_id={response.headers['X-Request-Id']} status=200 code=upstream_broken" in line.getMessage()
    assert line.levelno == logging.WARNING


async def test_failures_beyond_so_many_a_second_are_counted_in_one_line(
    start: Start, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock(1000.0)
    gateway = await start(clock=clock)
    for _ in range(LINES_A_SECOND + 5):
        assert (await client.get(gateway, "/nothing")).status == 404
    clock.now += 1.0
    await client.get(gateway, "/nothing")
    lines = [record.getMessage() for record in caplog.records if record.name == "pagoda_gateway.failure_log"]
    assert len(lines) == LINES_A_SECOND + 2
    assert lines[-2] == "failed requests are not in the log count=5"
