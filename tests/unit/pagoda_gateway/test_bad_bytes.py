"""Any bytes in: an answer in our shape or an end; nothing of them in the log, nothing odd at the server."""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pagoda_gateway.relay import build_headers
from pagoda_gateway.settings import Address, Settings
from pagoda_gateway.sidecar import Sidecar
from pagoda_gateway.upstream import PLAIN, UpstreamBroken, build_request_head, parse_head
from tests.doubles.model_server import FakeModelServer
from tests.doubles.raw_client import Answer, connect, post_head

from .conftest import Client, Start

SECRET = b"sk-do-not-tell"
HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
POST = b"POST /v1/completions HTTP/1.1\r\n" + HOST + JSON
BAD = {
    "a key with 0x7f": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + SECRET + b"\x7f\r\n\r\n",
    "a key with NUL": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + SECRET + b"\0\r\n\r\n",
    "a key over 8 kB": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + SECRET * 700 + b"\r\n\r\n",
    "a target over 8 kB": b"GET /v1/" + SECRET * 700 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "both lengths": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECRET,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + SECRET,
    "negative length": POST + b"Content-Length: -2\r\n\r\n" + SECRET,
    "length with a sign": POST + b"Content-Length: +2\r\n\r\n{}" + SECRET,
    "length in words": POST + b"Content-Length: " + SECRET + b"\r\n\r\n{}",
    "huge length": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n" + SECRET,
    "chunk without a size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
    "chunk with a negative size": POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n" + SECRET,
    "chunk of a huge size": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n" + SECRET,
    "chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}" + SECRET + b"\r\n",
    "lines without CR": b"GET /v1/models HTTP/1.1\nHost: x\n\n" + SECRET,
    "a space before the colon": b"GET /v1/models HTTP/1.1\r\nHost : x\r\nA: " + SECRET + b"\r\n\r\n",
    "a folded line": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"A: x\r\n " + SECRET + b"\r\n\r\n",
    "a line without a colon": b"GET /v1/models HTTP/1.1\r\n" + HOST + SECRET + b"\r\n\r\n",
    "NUL in a name": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"A\0" + SECRET + b": x\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\n" + HOST * 2 + b"A: " + SECRET + b"\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\nA: " + SECRET + b"\r\n\r\n",
    "HTTP/0.9": b"GET /v1/" + SECRET + b"\r\n\r\n",
    "HTTP/0.9 by name": b"GET /v1/" + SECRET + b" HTTP/0.9\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SECRET,
    "HTTP/2 by name": b"GET /v1/models HTTP/2.0\r\n" + HOST + b"A: " + SECRET + b"\r\n\r\n",
    "HTTP/1.7": b"GET /v1/models HTTP/1.7\r\n" + HOST + b"A: " + SECRET + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SECRET * 20,
    "another's address": b"GET http://evil.example/v1/" + SECRET + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "an address that is none": b"GET http://[::1/v1/" + SECRET + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "two slashes": b"GET //[" + SECRET + b" HTTP/1.1\r\nHost: [\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"A: " + SECRET + b"\r\n\r\n",
    "a coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\n" + SECRET,
    "an old websocket": b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Sec-WebSocket-Key1: " + SECRET + b"\r\n\r\n",
    "an unknown expectation": POST + b"Content-Length: 2\r\nExpect: " + SECRET + b"\r\n\r\n{}",
    "a method of nobody": SECRET + b" /v1/models HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SECRET,
    "a trace": b"TRACE /v1/models HTTP/1.1\r\n" + HOST + b"A: " + SECRET + b"\r\n\r\n",
    "a target beyond ASCII": "GET /v1/schlüssel HTTP/1.1\r\n".encode() + HOST + b"A: " + SECRET + b"\r\n\r\n",
}
STATUSES = {"a key over 8 kB": 431, "a target over 8 kB": 431, "an unknown expectation": 417}
STATUSES |= {"a tunnel": 405, "a trace": 405, "two slashes": 404}
KEEP = (404, 417)
"""Requests as such: the connection stays."""


@pytest.fixture(autouse=True)
def all_logs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("name", BAD)
async def test_bytes_that_are_no_request_are_answered_in_our_shape_and_never_repeated(
    server: FakeModelServer, start: Start, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(BAD[name])
        answer = await stranger.answer()
        assert answer.status == STATUSES.get(name, 400)
        assert answer.code
        assert SECRET not in answer.body and "sk-do" not in str(answer.headers)
        if answer.status == 405:
            assert "POST" in answer.headers["allow"]
        if answer.status not in KEEP:
            assert await stranger.ended() == b""
    assert "sk-do" not in caplog.text
    assert server.calls.empty()


@pytest.mark.parametrize("rest", [b"zz\r\n", b"-1\r\n", b"2\r\n{}x\r\n"])
async def test_body_that_stops_making_sense_is_refused_at_once(
    server: FakeModelServer, start: Start, caplog: pytest.LogCaptureFixture, rest: bytes
) -> None:
    gateway = await start(body_seconds=60.0)
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head("Transfer-Encoding: chunked") + b"5\r\n" + b"{'sk-"[:5] + b"\r\n")
        await stranger.send(rest)
        answer = await stranger.answer()
        assert (answer.status, answer.code) == (400, "bad_request")
        assert await stranger.ended() == b""
    assert "sk-" not in caplog.text and server.calls.empty()


async def test_nonsense_behind_a_request_does_not_spoil_its_answer(
    server: FakeModelServer, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head("Content-Length: 2") + b"{}")
        call = await server.next_call()
        await stranger.send(SECRET + b"\r\n\r\n" + SECRET * 10_000)
        await call.answer(b"[]")
        assert (await stranger.answer()).body == b"[]"
        assert (await stranger.answer()).code == "bad_request"
        assert await stranger.ended() == b""
    assert "sk-do" not in caplog.text


async def test_failure_of_our_own_is_told_without_what_was_asked(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start()

    def fail(**_: object) -> None:
        raise RuntimeError(SECRET.decode())

    monkeypatch.setattr(gateway.metrics, "render", fail)
    async with connect(gateway.port) as stranger:
        await stranger.send(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = await stranger.answer()
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "sk-do" not in caplog.text and "RuntimeError" in caplog.text


LINES = st.sampled_from(
    [
        *(b"GET / HTTP/1.1", b"POST /v1/completions HTTP/1.1", b"GET /health HTTP/1.0", b"Host: x", b"Host: localhost"),
        *(b"Content-Length: 2", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b""),
        *(b"2", b"{}", b"0", b"Content-Type: application/json", b"Connection: keep-alive", b"Upgrade: websocket"),
        *(b"Content-Encoding: gzip", b"X: \xff\xfe", b"\xc3\xa9: x", b"X-Pagoda-Tenant: root", b"Connection: upgrade"),
    ]
)
PIECE = st.one_of(LINES, st.binary(max_size=20))
MESSAGE = st.lists(st.tuples(PIECE, st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b""])), max_size=14).map(
    lambda pieces: b"".join(piece + end for piece, end in pieces)
)
WELL_FORMED = re.compile(rb"(GET|POST|DELETE) /v1/[!-~]* HTTP/1\.1")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(MESSAGE, min_size=1, max_size=6))
def test_any_bytes_have_an_answer_in_our_shape_or_an_end(
    tmp_path_factory: pytest.TempPathFactory, messages: list[bytes]
) -> None:
    asyncio.run(try_messages(tmp_path_factory.mktemp("s"), messages))


async def try_messages(folder: Path, messages: list[bytes]) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_unix_server(serve, str(folder / "s.sock"))
    gateway = build_gateway(folder / "s.sock")
    await gateway.start()
    try:
        for message in messages:
            await try_message(gateway, message)
    finally:
        await gateway.stop()
        server.close()
    for head in (head for head in seen if not head.startswith((b"GET /ready ", b"GET /load "))):
        first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        assert WELL_FORMED.fullmatch(first)
        assert all(re.fullmatch(rb"[!-9;-~]+: [\t -~]*", line) for line in lines), lines
        assert [line for line in lines if b"Pagoda" in line] == [b"X-Pagoda-Tenant: anonymous"]


async def try_message(gateway: Sidecar, message: bytes) -> None:
    async with asyncio.timeout(5), connect(gateway.port) as stranger:
        await stranger.send(message)
        stranger.writer.write_eof()
        while True:
            try:
                answer = await stranger.answer()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            judge(answer)


def judge(answer: Answer) -> None:
    assert answer.status == 200 or answer.code


def build_gateway(upstream: Path) -> Sidecar:
    local = Address("127.0.0.1", 0)
    values: dict[str, Any] = {
        "max_queued": 4,
        "max_queued_tokens": 10_000,
        "max_wait_seconds": 5.0,
        "backlog_drain_seconds": 10.0,
    }
    names: dict[str, Any] = {"model_name": "m", "namespace": "n", "model_deployment": "d"}
    return Sidecar(Settings(listen=local, admin=local, upstream=upstream, max_running=2, **names, **values))


TEXT = st.text("aZ9 -_\t\r\n\0\x7f\x80é\udc80\u2028", max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=4))
def test_no_header_of_a_client_is_a_line_of_another_kind(headers: list[tuple[str, str]]) -> None:
    named = [(name, value) for name, value in headers if PLAIN.fullmatch(name) and ":" not in name]
    head = build_request_head("POST", "/v1/x", build_headers(named, "tenant", "req_1"), 0)
    assert head.isascii() and head.count(b"\r\n\r\n") == 1
    assert len(head.split(b"\r\n")) <= 7 + len(named)


@given(TEXT)
def test_target_that_is_not_plain_is_never_sent(target: str) -> None:
    try:
        head = build_request_head("GET", "/" + target, [], 0)
    except ValueError:
        return
    assert head == f"GET /{target} HTTP/1.1\r\nConnection: close\r\n\r\n".encode("ascii")


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest))
def test_any_head_of_the_server_is_a_head_or_an_error(raw: bytes) -> None:
    try:
        head = parse_head(raw)
    except UpstreamBroken:
        return
    assert 100 <= head.status < 600
    assert all(PLAIN.fullmatch(name) and PLAIN.fullmatch(value) for name, value in head.headers)


@pytest.mark.parametrize(
    "line", [b"X: \xff", b"X: a\rb", b"X\xc3\xa9: 1", b"X: \x00", b"Content-Length: " + b"9" * 5000]
)
async def test_odd_head_of_the_server_is_502(
    server: FakeModelServer, start: Start, client: Client, line: bytes
) -> None:
    gateway = await start()
    asked = asyncio.ensure_future(client.post(gateway))
    for _ in range(2):
        await (await server.next_call()).send(b"HTTP/1.1 200 OK\r\n" + line + b"\r\n\r\n")
    response = await asked
    assert (response.status, (await response.json())["error"]["code"]) == (502, "upstream_broken")


async def test_answer_that_never_begins_is_502(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.ensure_future(client.post(gateway))
    for _ in range(2):
        await (await server.next_call()).send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
    assert (await asked).status == 502
