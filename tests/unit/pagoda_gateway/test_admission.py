"""What a request weighs, whose turn it is, and what the server says of it before its turn."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pagoda_gateway.sidecar import Sidecar
from tests.doubles.model_server import Call, FakeModelServer

from .conftest import Client, Start, Until

INVALID = json.dumps(
    {"error": {"message": "n is 99", "type": "invalid_request_error", "param": "n", "code": "x"}}
).encode()


def weighed(sequences: int, tokens: int) -> tuple[int, bytes]:
    return 200, json.dumps({"sequences": sequences, "tokens": tokens}).encode()


Occupy = Callable[..., Awaitable[tuple[asyncio.Task[aiohttp.ClientResponse], Call]]]


@pytest.fixture
def occupy(server: FakeModelServer, client: Client) -> Occupy:
    """Puts one request at the server, so that the next has to wait."""

    async def take_the_slot(gateway: Sidecar, **options: Any) -> tuple[asyncio.Task[aiohttp.ClientResponse], Call]:
        asked = asyncio.create_task(client.post(gateway, **options))
        return asked, await server.next_call()

    return take_the_slot


async def read_code(response: aiohttp.ClientResponse) -> str:
    return str((await response.json())["error"]["code"])


async def test_an_invalid_request_is_refused_while_others_wait(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = 400, INVALID
    refused = await client.post(gateway, {"n": 3, "prompt": "x"})
    assert (refused.status, await refused.read()) == (400, INVALID)
    assert (gateway.queue.queued, gateway.queue.running) == (0, 1)
    check = server.checked[0]
    assert (check.method, check.target) == ("POST", "/check/v1/completions")
    assert json.loads(check.body) == {"n": 3, "prompt": "x"} and check.headers["x-pagoda-tenant"] == "anonymous"
    await call.answer()
    assert (await asked).status == 200


async def test_a_request_that_need_not_wait_is_not_checked(
    server: FakeModelServer, start: Start, occupy: Occupy
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    await call.answer()
    await asked
    assert server.checked == []


async def test_what_needs_no_engine_is_answered_while_others_wait(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start(max_queued=0)
    asked, call = await occupy(gateway)
    embeds = asyncio.create_task(client.session.post(f"http://127.0.0.1:{gateway.port}/v1/embeddings", data=b"{}"))
    await (await server.next_call()).answer(INVALID, status=404)
    assert (await embeds).status == 404
    await call.answer()
    await asked


async def test_a_model_that_is_not_served_is_said_at_once(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = 404, INVALID.replace(b'"x"', b'"model_not_found"')
    assert (await client.post(gateway)).status == 404
    await call.answer()
    await asked


async def test_an_invalid_stream_that_was_pinged_is_told_by_an_event(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start(ping_seconds=0.01)
    asked, call = await occupy(gateway)
    server.verdict = None
    streamed = await client.post(gateway, {"stream": True})
    assert await streamed.content.readuntil(b"\n\n") == b": ping\n\n"
    await (await server.next_call()).answer(INVALID, status=400)
    last = (await streamed.read()).strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: ")) == json.loads(INVALID)
    await call.answer()
    await asked


async def test_the_servers_count_takes_the_place_of_the_estimate(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy, until: Until
) -> None:
    gateway = await start(max_queued=10)
    asked, call = await occupy(gateway)
    server.verdict = weighed(3, 4567)
    waits = asyncio.create_task(client.post(gateway))
    await until(lambda: gateway.queue.queued_tokens == 4567)
    assert (gateway.queue.queued, gateway.queue.queued_sequences) == (1, 3)
    await call.answer()
    await (await server.next_call()).answer()
    assert [(await task).status for task in (asked, waits)] == [200, 200]


async def test_a_request_the_server_counts_larger_than_the_queue_is_429(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = weighed(1, 200_000)
    refused = await client.post(gateway)
    assert (refused.status, await read_code(refused)) == (429, "queue_tokens_full")
    assert int(refused.headers["Retry-After"]) >= 1
    await call.answer()
    await asked


@pytest.mark.parametrize(
    "verdict",
    [
        (404, b""),
        (404, b'{"error": {"code": "not_found"}}'),
        (500, b"{}"),
        (503, INVALID),
        (429, INVALID),
        (400, b"<html>"),
        (200, b"[" * 50_000),
        (200, b'{"sequences": 0, "tokens": 1}'),
        (200, b'{"sequences": 1, "tokens": -1}'),
        (200, b'{"sequences": 1, "tokens": 1e999}'),
        (200, b'{"sequences": 1, "tokens": ' + b"9" * 401 + b"}"),
        (200, b'{"sequences": 1, "tokens": 1, "\xff": 1}'),
        (302, b""),
        (200, b"x" * 100_000),
    ],
)
async def test_a_check_that_says_nothing_leaves_the_estimate(
    server: FakeModelServer,
    start: Start,
    client: Client,
    occupy: Occupy,
    until: Until,
    verdict: tuple[int, bytes] | None,
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = verdict
    waits = asyncio.create_task(client.post(gateway, {"max_tokens": 100}))
    await until(lambda: b'outcome="unknown"' in gateway.metrics.render())
    assert (gateway.queue.queued, gateway.queue.queued_tokens) == (1, len(b'{"max_tokens": 100}') // 4 + 100)
    await call.answer()
    await (await server.next_call()).answer()
    assert [(await task).status for task in (asked, waits)] == [200, 200]


async def test_a_check_that_hangs_keeps_nobody_from_its_turn(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = None
    waits = asyncio.create_task(client.post(gateway))
    check = await server.next_call()
    await call.answer()
    real = await server.next_call()
    assert (check.target, real.target) == ("/check/v1/completions", "/v1/completions")
    async with asyncio.timeout(5):
        await check.gone.wait()
    await real.answer()
    assert [(await task).status for task in (asked, waits)] == [200, 200]


async def test_one_request_of_many_sequences_counts_as_many(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy, until: Until
) -> None:
    gateway = await start(max_queued=2000, max_queued_tokens=10_000_000, backlog_drain_seconds=1.0)
    asked, call = await occupy(gateway)
    body = {"prompt": ["hello"] * 64, "n": 16, "max_tokens": 2000}
    waits = asyncio.create_task(client.post(gateway, body))
    await until(lambda: gateway.queue.queued == 1 and gateway.server.fresh_load() is not None)
    load = await (await client.get(gateway, "/load")).json()
    assert gateway.queue.queued_sequences == 1024
    assert load["queued_tokens"] >= 64 * 16 * 2000 and load["demand_tokens_per_second"] >= 64 * 16 * 2000
    await call.answer()
    await (await server.next_call()).answer()
    assert [(await task).status for task in (asked, waits)] == [200, 200]


async def test_what_no_queue_of_ours_could_hold_is_refused_in_true_words_and_runs_when_idle(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy
) -> None:
    gateway = await start(max_queued=256)
    asked, call = await occupy(gateway)
    body = {"prompt": ["hello"] * 64, "n": 16, "max_tokens": 1}
    refused = await client.post(gateway, body)
    message = (await refused.json())["error"]["message"]
    assert refused.status == 429 and "1024 sequences" in message and "256" in message
    await call.answer()
    await asked
    asked, call = await occupy(gateway, body=body)
    await call.answer()
    assert (await asked).status == 200


async def test_what_only_seems_too_large_is_weighed_by_the_server_first(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy, until: Until
) -> None:
    gateway = await start()
    asked, call = await occupy(gateway)
    server.verdict = weighed(1, 500)
    waits = asyncio.create_task(client.post(gateway, {"max_tokens": 10**9}))
    await until(lambda: gateway.queue.queued_tokens == 500)
    server.verdict = 400, INVALID
    assert (await client.post(gateway, {"n": 10**6})).status == 400
    await call.answer()
    await (await server.next_call()).answer()
    assert [(await task).status for task in (asked, waits)] == [200, 200]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir()
    for tenant in ("alice", "bob"):
        (folder / tenant).write_text(f"key-of-{tenant}")
    return folder


def by(tenant: str) -> dict[str, object]:
    return {"headers": {"Authorization": f"Bearer key-of-{tenant}"}}


async def test_a_tenant_with_many_requests_is_not_in_front_of_all_others(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy, until: Until, keys: Path
) -> None:
    gateway = await start(api_keys_dir=keys, max_queued=100)
    asked, call = await occupy(gateway, **by("alice"))
    waits = [asyncio.create_task(client.post(gateway, **by("alice"))) for _ in range(10)]
    await until(lambda: gateway.queue.queued == 10)
    waits.append(asyncio.create_task(client.post(gateway, **by("bob"))))
    await until(lambda: gateway.queue.queued == 11)
    order = []
    for _ in range(11):
        await call.answer()
        call = await server.next_call()
        order.append(call.headers["x-pagoda-tenant"])
    await call.answer()
    assert "bob" in order[:2]
    assert {response.status for response in await asyncio.gather(asked, *waits)} == {200}


async def test_a_tenant_that_fills_the_queue_gives_way_to_another(
    server: FakeModelServer, start: Start, client: Client, occupy: Occupy, until: Until, keys: Path
) -> None:
    gateway = await start(api_keys_dir=keys, max_queued=3)
    asked, call = await occupy(gateway, **by("alice"))
    waits = []
    for _ in range(3):
        waits.append(asyncio.create_task(client.post(gateway, **by("alice"))))
        await until(lambda: gateway.queue.queued == len(waits))
    assert await read_code(await client.post(gateway, **by("alice"))) == "queue_full"
    waits.append(asyncio.create_task(client.post(gateway, **by("bob"))))
    let_go = await waits[2]
    assert (let_go.status, await read_code(let_go)) == (429, "queue_share")
    assert int(let_go.headers["Retry-After"]) >= 1
    for _ in range(3):
        await call.answer()
        call = await server.next_call()
    await call.answer()
    assert [response.status for response in await asyncio.gather(asked, *waits)] == [200, 200, 200, 429, 200]


async def test_keys_that_cannot_be_read_any_more_let_nobody_in(
    start: Start, client: Client, until: Until, keys: Path
) -> None:
    gateway = await start(api_keys_dir=keys)
    keys.rename(keys.parent / "aside")
    await until(lambda: not gateway.keys.readable)
    refused = await client.post(gateway, **by("alice"))
    assert (refused.status, await read_code(refused)) == (503, "keys_unavailable")
    assert "Retry-After" in refused.headers
    assert b'keys_refused{model_deployment="md",model_name="m",namespace="ns",reason="folder_unreadable"} 1.0' in (
        gateway.metrics.render()
    )
    (keys.parent / "aside").rename(keys)
    await until(lambda: gateway.keys.readable)
    assert gateway.keys.tenant_of("Bearer key-of-alice") == "alice"
