import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.doubles.clock import Clock
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start, Until


async def test_answer_passes_unchanged(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, b"{not json"))
    call = await server.next_call()
    assert (call.method, call.target, call.body) == ("POST", "/v1/completions", b"{not json")
    await call.answer(b'{"error":"yours"}', status=400)
    response = await asked
    assert (response.status, await response.read()) == (400, b'{"error":"yours"}')


async def test_get_is_relayed_without_a_slot(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start(max_running=1)
    running = asyncio.create_task(client.post(gateway))
    post = await server.next_call()
    listed = asyncio.create_task(client.get(gateway, "/v1/models?x=%20y"))
    call = await server.next_call()
    assert call.target == "/v1/models?x=%20y"
    await call.answer(b"[]")
    assert await (await listed).read() == b"[]"
    await post.answer()
    await running


async def test_chunks_arrive_apart(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, {"stream": True}))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    response = await asked
    assert response.headers["X-Accel-Buffering"] == "no"
    assert await response.content.readany() == b"data: 1\n\n"
    await call.chunk(b"data: 2\n\n")
    assert await response.content.readany() == b"data: 2\n\n"
    await call.end_stream()
    assert await response.read() == b""


async def test_requests_reach_the_server_in_order_and_never_above_the_slots(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(max_running=1)
    asked = []
    for number in range(4):
        asked.append(asyncio.create_task(client.post(gateway, {"seed": number})))
        await until(lambda: gateway.queue.admitted == len(asked))
    for number in range(4):
        call = await server.next_call()
        assert json.loads(call.body) == {"seed": number}
        assert server.calls.empty() and gateway.queue.running == 1
        await call.answer()
    assert [response.status for response in await asyncio.gather(*asked)] == [200] * 4


async def test_full_queue_is_429_with_retry_after(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(max_queued=1)
    asked = [asyncio.create_task(client.post(gateway)) for _ in range(2)]
    await until(lambda: gateway.queue.queued == 1)
    refused = await client.post(gateway)
    error = (await refused.json())["error"]
    assert (refused.status, error["code"], error["param"]) == (429, "queue_full", None)
    assert int(refused.headers["Retry-After"]) >= 1
    for _ in asked:
        await (await server.next_call()).answer()
    await asyncio.gather(*asked)


async def test_tokens_bound_is_429(server: FakeModelServer, start: Start, client: Client, until: Until) -> None:
    gateway = await start(max_queued_tokens=100)
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    refused = await client.post(gateway, {"max_tokens": 200})
    assert (refused.status, (await refused.json())["error"]["code"]) == (429, "queue_tokens_full")
    await call.answer()
    await asked


async def test_wait_over_the_deadline_is_503(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start(max_wait_seconds=0.05)
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    refused = await client.post(gateway)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "wait_exceeded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert (gateway.queue.queued, gateway.queue.queued_tokens) == (0, 0)
    await call.answer()
    await asked


async def test_waiting_stream_is_pinged_then_served(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start(ping_seconds=0.01)
    asked = asyncio.create_task(client.post(gateway))
    first = await server.next_call()
    streamed = await client.post(gateway, {"stream": True})
    assert (streamed.status, streamed.content_type) == (200, "text/event-stream")
    assert (await streamed.content.readuntil(b"\n\n")) == b": ping\n\n"
    await first.answer()
    second = await server.next_call()
    await second.start_stream()
    await second.chunk(b"data: 1\n\n")
    await second.end_stream()
    assert (await streamed.read()).replace(b": ping\n\n", b"") == b"data: 1\n\n"
    await asked


async def test_the_first_token_of_a_stream_is_timed_from_the_request_and_a_ping_is_none(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    clock = Clock(1000.0)
    gateway = await start(ping_seconds=0.01, clock=clock)
    asked = asyncio.create_task(client.post(gateway))
    first = await server.next_call()
    streamed = await client.post(gateway, {"stream": True})
    assert (await streamed.content.readuntil(b"\n\n")) == b": ping\n\n"
    clock.now += 1.25
    await first.answer()
    await asked
    second = await server.next_call()
    await second.start_stream()
    await second.chunk(b"data: 1\n\n")
    await second.end_stream()
    await streamed.read()
    page = gateway.metrics.render().decode()
    name = "pagoda_gateway_time_to_first_token_seconds"
    counts = dict(re.findall(rf'^{name}_bucket{{le="(1.0|1.5|\+Inf)".*}} (.*)$', page, re.MULTILINE))
    assert counts == {"1.0": "0.0", "1.5": "1.0", "+Inf": "1.0"}


@pytest.mark.parametrize("way", ["deadline", "server error"])
async def test_failure_after_a_ping_is_an_event(
    server: FakeModelServer, start: Start, client: Client, way: str
) -> None:
    gateway = await start(ping_seconds=0.01, max_wait_seconds=0.1 if way == "deadline" else 30)
    asked = asyncio.create_task(client.post(gateway))
    first = await server.next_call()
    streamed = await client.post(gateway, {"stream": True})
    assert await streamed.content.readuntil(b"\n\n") == b": ping\n\n"
    if way == "server error":
        await first.answer()
        await (await server.next_call()).answer(b'{\n"error": {"code": "mine"}}', status=400)
    events = [part for part in (await streamed.read()).split(b"\n\n") if part.startswith(b"data: ")]
    assert len(events) == 1
    code = json.loads(events[0].removeprefix(b"data: "))["error"]["code"]
    assert code == ("wait_exceeded" if way == "deadline" else "mine")
    if way == "deadline":
        await first.answer()
    await asked


async def test_client_that_leaves_the_queue_takes_its_tokens_along(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    left = asyncio.create_task(client.post(gateway, {"max_tokens": 1000}))
    await until(lambda: gateway.queue.queued_tokens >= 1000)
    left.cancel()
    await until(lambda: gateway.queue.cancelled == 1)
    assert (gateway.queue.queued, gateway.queue.queued_tokens) == (0, 0)
    await call.answer()
    await asked
    assert server.calls.empty()


async def test_client_that_leaves_while_running_closes_the_upstream(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, {"stream": True}))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    response = await asked
    await response.content.readany()
    response.close()
    async with asyncio.timeout(5):
        await call.gone.wait()
    await until(lambda: gateway.queue.running == 0)
    assert b'code="499"' in gateway.metrics.render()


async def test_client_that_leaves_before_the_head_closes_the_upstream(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    asked.cancel()
    async with asyncio.timeout(5):
        await call.gone.wait()
    await until(lambda: gateway.queue.running == 0)


async def test_body_over_the_cap_is_413(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start(max_body_bytes=100)

    async def unsized() -> AsyncIterator[bytes]:
        yield b"x" * 101

    for data in (b"x" * 101, unsized()):
        refused = await client.session.post(f"http://127.0.0.1:{gateway.port}/v1/completions", data=data)
        assert (refused.status, (await refused.json())["error"]["code"]) == (413, "body_too_large")
    assert server.calls.empty()


async def test_absent_server_is_503_with_retry_after(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    await server.stop()
    refused = await client.post(gateway)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "upstream_unreachable")
    assert "Retry-After" in refused.headers


async def test_request_is_sent_again_only_before_the_first_byte(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    (await server.next_call()).writer.close()
    again = await server.next_call()
    await again.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    response = await asked
    again.writer.close()
    with pytest.raises(Exception, match="ayload|reset|closed"):
        await response.read()
    assert server.calls.empty()


async def test_stream_that_breaks_ends_with_an_error_event(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway, {"stream": True}))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    call.writer.close()
    last = (await (await asked).read()).strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_broken"


async def test_a_server_that_ends_before_it_answers_is_a_502_in_words(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    for _ in range(2):
        (await server.next_call()).writer.close()
    refused = await asked
    error = (await refused.json())["error"]
    assert (refused.status, error["code"], bool(error["message"])) == (502, "upstream_broken", True)


async def test_a_killed_server_ends_every_stream_with_an_error_event_and_frees_its_slots(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(max_running=3)
    asked = [asyncio.create_task(client.post(gateway, {"stream": True})) for _ in range(3)]
    calls = [await server.next_call() for _ in asked]
    for call in calls:
        await call.start_stream()
        await call.chunk(b"data: 1\n\n")
    for call in calls:
        call.writer.transport.abort()
    for response in await asyncio.gather(*asked):
        last = (await response.read()).strip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_broken"
    await until(lambda: gateway.queue.running_sequences == 0)
    assert b'reason="upstream_broken"} 3.0' in gateway.metrics.render()


async def test_nobody_outside_speaks_for_the_gateway(
    server: FakeModelServer, start: Start, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "alice").write_text("sk-alice")
    gateway = await start(api_keys_dir=tmp_path / "keys")
    spoofed = {"X-Pagoda-Tenant": "root", "x-pagoda-tokens": "1", "X_Pagoda_Tenant": "root", "X-Else": "kept"}
    asked = asyncio.create_task(client.post(gateway, headers={**spoofed, "Authorization": "Bearer sk-alice"}))
    call = await server.next_call()
    pagoda = {k: v for k, v in call.headers.items() if "pagoda" in k}
    assert pagoda == {"x-pagoda-tenant": "alice"}
    assert call.headers["x-else"] == "kept" and "authorization" not in call.headers
    await call.answer()
    await asked


async def test_wrong_key_is_401_and_reload_lets_the_new_key_in(
    server: FakeModelServer, start: Start, client: Client, tmp_path: Path, until: Until
) -> None:
    (tmp_path / "keys").mkdir()
    gateway = await start(api_keys_dir=tmp_path / "keys")
    refused = await client.post(gateway, headers={"Authorization": "Bearer sk-alice"})
    assert (refused.status, (await refused.json())["error"]["code"]) == (401, "invalid_api_key")
    (tmp_path / "keys" / "alice").write_text("sk-alice")
    await until(lambda: gateway.keys.tenant_of("Bearer sk-alice") == "alice")
    asked = asyncio.create_task(client.post(gateway, headers={"Authorization": "Bearer sk-alice"}))
    await (await server.next_call()).answer()
    assert (await asked).status == 200
    assert (await client.get(gateway, "/health")).status == 200
