"""Bodies: bytes are counted before they are kept, over all requests, and given back."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_gateway.body import SMALL_BYTES, BodyBudget
from tests.doubles.model_server import FakeModelServer
from tests.doubles.raw_client import RawClient, connect, post_head

from .conftest import Client, Start, Until

KIB = 1024
LARGE = 256 * KIB


def test_large_bodies_leave_room_for_small_ones() -> None:
    budget = BodyBudget(1000 * KIB)
    budget.take("a", 750 * KIB)
    assert not budget.can_take("a", 1, of=SMALL_BYTES + 1)
    assert budget.can_take("a", SMALL_BYTES, of=SMALL_BYTES)
    budget.take("a", 250 * KIB)
    assert not budget.can_take("a", 1, of=1)


def test_one_of_several_tenants_never_has_it_all() -> None:
    budget = BodyBudget(1000, tenant_share=0.5)
    budget.take("a", 500)
    assert not budget.can_take("a", 1, of=1)
    assert budget.can_take("b", 500, of=500)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), max_size=30))
def test_what_is_held_is_what_was_taken_and_never_more_than_the_total(wishes: list[tuple[str, int]]) -> None:
    budget, held = BodyBudget(1000, tenant_share=0.5), []
    for tenant, size in wishes:
        if budget.can_take(tenant, size, of=size):
            budget.take(tenant, size)
            held.append((tenant, size))
        assert budget.held_bytes == sum(size for _, size in held) <= 1000
    for tenant, size in held:
        budget.give_back(tenant, size)
    assert budget.held_bytes == 0


def unfinished(size: int, *, chunked: bool) -> bytes:
    if chunked:
        return post_head("Transfer-Encoding: chunked") + b"%x\r\n" % size + b"x" * (size - 1)
    return post_head(f"Content-Length: {size}") + b"x" * (size - 1)


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_that_never_end_are_refused_beyond_the_budget_and_small_ones_pass(
    server: FakeModelServer, start: Start, client: Client, until: Until, chunked: bool
) -> None:
    gateway = await start(max_body_bytes_total=4 * LARGE, max_body_bytes=4 * LARGE)
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(connect(gateway.port)) for _ in range(12)]
        for stranger in crowd:
            await stranger.send(unfinished(LARGE, chunked=chunked))
        answers = [asyncio.ensure_future(stranger.answer()) for stranger in crowd]
        await until(lambda: sum(answer.done() for answer in answers) >= 9)
        refused = [answer.result() for answer in answers if answer.done()]
        assert {(answer.status, answer.code) for answer in refused} == {(429, "body_bytes_full")}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert gateway.bodies.budget.held_bytes <= 3 * LARGE
        asked = asyncio.ensure_future(client.post(gateway))
        await (await server.next_call()).answer()
        assert (await asked).status == 200
        for answer in answers:
            answer.cancel()
    await until(lambda: gateway.bodies.budget.held_bytes == 0)


async def test_body_counts_while_its_request_waits_and_not_once_it_is_answered(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(max_running=1)
    body = json.dumps({"pad": "x" * 1000}).encode()
    asked = [asyncio.ensure_future(client.post(gateway, body)) for _ in range(2)]
    await until(lambda: gateway.queue.queued == 1)
    assert gateway.bodies.budget.held_bytes == 2 * len(body)
    call = await server.next_call()
    await call.start_stream()
    await until(lambda: gateway.bodies.budget.held_bytes == len(body))
    await call.end_stream()
    await (await server.next_call()).answer()
    await asyncio.gather(*asked)
    assert gateway.bodies.budget.held_bytes == 0


async def test_body_in_crumbs_is_counted_and_whole(server: FakeModelServer, start: Start) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head("Transfer-Encoding: chunked"))
        for byte in b'{"a": 1}':
            await stranger.send(b"1\r\n%c\r\n" % byte)
        await stranger.send(b"0\r\n\r\n")
        call = await server.next_call()
        assert call.body == b'{"a": 1}'
        await call.answer()
        assert (await stranger.answer()).status == 200


async def test_body_that_stands_still_is_408_and_its_bytes_are_given_back(start: Start, until: Until) -> None:
    gateway = await start(body_seconds=0.05)
    async with connect(gateway.port) as stranger:
        await stranger.send(unfinished(100, chunked=False))
        answer = await stranger.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (408, "body_too_slow", "close")
    assert gateway.bodies.budget.held_bytes == 0


async def test_steady_body_has_more_time_than_one_that_stands_still(
    server: FakeModelServer, start: Start, until: Until
) -> None:
    """64 KiB have 4 s at the slowest rate allowed."""
    gateway = await start(body_seconds=0.05)
    part = b"x" * 64 * KIB
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head(f"Content-Length: {2 * len(part)}") + part)
        over_at = asyncio.get_running_loop().time() + 2 * 0.05
        await until(lambda: asyncio.get_running_loop().time() > over_at)
        await stranger.send(part)
        call = await server.next_call()
        assert len(call.body) == 2 * len(part)
        await call.answer()
        assert (await stranger.answer()).status == 200


async def test_client_that_asks_first_is_refused_without_being_asked_for_its_body(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    gateway = await start(api_keys_dir=tmp_path / "keys")
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head("Content-Length: 1000", "Expect: 100-continue"))
        assert (await stranger.answer()).status == 401


async def test_client_that_asks_first_is_asked_for_its_body_once_it_is_wanted(
    server: FakeModelServer, start: Start
) -> None:
    gateway = await start()
    async with connect(gateway.port) as stranger:
        await stranger.send(post_head("Content-Length: 2", "Expect: 100-continue"))
        assert (await stranger.head()).startswith(b"HTTP/1.1 100 ")
        await stranger.send(b"{}")
        await (await server.next_call()).answer()
        assert (await stranger.answer()).status == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_refused_request_is_answered_and_not_read_on(start: Start, tmp_path: Path, chunked: bool) -> None:
    """NB: the client goes on sending for ever; only the connection's end stops it."""
    (tmp_path / "keys").mkdir()
    gateway = await start(api_keys_dir=tmp_path / "keys")
    async with connect(gateway.port) as stranger:
        await stranger.send(unfinished(LARGE, chunked=chunked))
        answer = await stranger.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (401, "invalid_api_key", "close")
        assert gateway.bodies.budget.held_bytes == 0
        await pour_until_cut(stranger)


async def pour_until_cut(stranger: RawClient) -> None:
    async with asyncio.timeout(8):
        with pytest.raises(OSError):
            while True:
                await stranger.send(b"x" * LARGE)
