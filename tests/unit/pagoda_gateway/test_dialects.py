"""Errors and pings as the clients of each API know them."""

import asyncio
import json
from typing import Any

import pytest

from pagoda_gateway.dialects import choose_dialect
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start, Until

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"


def read_event(stream: bytes) -> tuple[str, dict[str, Any]]:
    """Returns the last event's name, empty where it has none, and its data."""
    fields = dict(line.split(b": ", 1) for line in stream.strip().split(b"\n\n")[-1].split(b"\n") if line)
    return fields.get(b"event", b"").decode(), json.loads(fields[b"data"])


@pytest.mark.parametrize("path", [MESSAGES, f"{MESSAGES}/count_tokens"])
async def test_a_refused_key_is_an_error_of_the_clients_api(
    start: Start, client: Client, tmp_path_factory: pytest.TempPathFactory, path: str
) -> None:
    gateway = await start(api_keys_dir=tmp_path_factory.mktemp("keys"))
    refused = await client.session.post(f"http://127.0.0.1:{gateway.port}{path}", data=b"{}")
    body = await refused.json()
    assert (refused.status, body["type"], body["error"]["type"]) == (401, "error", "authentication_error")
    assert "X-Api-Key" in body["error"]["message"]


@pytest.mark.parametrize(
    ("options", "data", "status", "kind"),
    [
        ({"max_queued": 0}, b"{}", 429, "rate_limit_error"),
        ({"max_wait_seconds": 0.05}, b"{}", 503, "overloaded_error"),
        ({"max_body_bytes": 10}, b"x" * 11, 413, "request_too_large"),
    ],
)
async def test_each_refusal_of_a_message_has_anthropics_type(
    server: FakeModelServer,
    start: Start,
    client: Client,
    options: dict[str, Any],
    data: bytes,
    status: int,
    kind: str,
) -> None:
    gateway = await start(**options)
    running = asyncio.create_task(client.post(gateway, b"{}"))
    call = await server.next_call()
    refused = await client.session.post(f"http://127.0.0.1:{gateway.port}{MESSAGES}", data=data)
    body = await refused.json()
    assert (refused.status, set(body), body["error"]["type"]) == (status, {"type", "error"}, kind)
    assert set(body["error"]) == {"type", "message"} and body["error"]["message"]
    await call.answer()
    await running


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
async def test_what_is_refused_by_its_head_has_the_same_shape(start: Start, client: Client, kind: str) -> None:
    gateway = await start()
    url = f"http://127.0.0.1:{gateway.port}{MESSAGES}"
    refused = await client.session.post(url, data=b"x", headers={"Content-Type": kind})
    assert (refused.status, (await refused.json())["error"]["type"]) == (415, "invalid_request_error")


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES])
async def test_a_waiting_stream_is_pinged_and_told_of_its_failure_in_its_dialect(
    server: FakeModelServer, start: Start, client: Client, path: str
) -> None:
    gateway = await start(ping_seconds=0.01, max_wait_seconds=0.1)
    running = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    streamed = await client.session.post(f"http://127.0.0.1:{gateway.port}{path}", data=b'{"stream": true}')
    assert (streamed.status, streamed.content_type) == (200, "text/event-stream")
    stream = await streamed.read()
    first = b'event: ping\ndata: {"type": "ping"}\n\n' if path == MESSAGES else b": ping\n\n"
    assert stream.startswith(first)
    name, data = read_event(stream)
    assert (name, data["type"]) == ("error", "error")
    if path == MESSAGES:
        assert data["error"]["type"] == "overloaded_error"
    else:
        assert data["code"] == data["error"]["code"] == "wait_exceeded"
    await call.answer()
    await running


async def test_the_servers_refusal_of_a_pinged_message_passes_in_its_own_words(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    server.verdict = (400, b'{"type": "error",\n "error": {"type": "invalid_request_error", "message": "no"}}')
    gateway = await start()
    running = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    refused = await client.session.post(f"http://127.0.0.1:{gateway.port}{MESSAGES}", data=b"{}")
    assert (refused.status, await refused.read()) == server.verdict
    assert [check.target for check in server.checked] == [f"/check{MESSAGES}"]
    await call.answer()
    await running


@pytest.mark.parametrize("body", [b"[]", b'{"error": "text"}', b"{}"])
def test_an_error_that_is_none_of_openais_is_passed_on_as_one_event(body: bytes) -> None:
    event = choose_dialect(RESPONSES).build_event(body)
    assert event == b"data: " + body.replace(b" ", b"") + b"\n\n"
