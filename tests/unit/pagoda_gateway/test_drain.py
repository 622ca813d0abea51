import asyncio
import os
import resource
import signal
import sys
from typing import Any

import pytest

from pagoda_gateway.drain import QUIET_SECONDS, Drain
from tests.doubles.clock import Clock
from tests.doubles.model_server import FakeModelServer

from .conftest import Client, Start, Until


async def test_drain_finishes_what_runs_and_what_waits(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start()
    asked = [asyncio.create_task(client.post(gateway)) for _ in range(2)]
    await until(lambda: gateway.queue.queued == 1)
    draining = asyncio.create_task(client.drain(gateway, 30))
    await until(lambda: gateway.drain.draining)
    assert (await client.get(gateway, "/ready")).status == 503
    refused = await client.post(gateway)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "draining")
    assert refused.headers["Connection"] == "close" and "Retry-After" in refused.headers
    await (await server.next_call()).answer()
    last = await server.next_call()
    assert not draining.done()
    await last.answer()
    drained = await draining
    assert (drained.status, await drained.json()) == (200, {"drained": True})
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200]


async def test_drain_says_so_when_it_takes_too_long(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    late = await client.drain(gateway, 0.01)
    assert late.status == 504
    assert await late.json() == {"drained": False, "queued": 0, "running": 1, "in_flight": 1}
    await call.answer()
    assert (await asked).status == 200


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
async def test_drain_refuses_seconds_that_are_no_duration(start: Start, client: Client, seconds: str) -> None:
    gateway = await start()
    url = f"http://127.0.0.1:{gateway.admin_port}/drain?seconds={seconds}"
    assert (await client.session.post(url, headers={"X-Pagoda-Admin": "1"})).status == 400
    assert not gateway.drain.draining


async def test_requests_are_taken_until_the_grace_is_over() -> None:
    clock = Clock()
    drain = Drain(grace_seconds=2.0, clock=clock)
    drain.begin()
    clock.now = 1.9
    assert drain.draining and not drain.refuses()
    drain.begin()
    clock.now = 2.0
    assert drain.refuses()
    await drain.wait_empty()


def test_requests_are_taken_while_they_still_come_however_long_ago_the_drain_began() -> None:
    clock = Clock()
    drain = Drain(grace_seconds=8.0, clock=clock)
    drain.begin()
    for _ in range(50):
        clock.now += QUIET_SECONDS - 0.1
        with drain.track() as taken:
            assert taken
    clock.now += QUIET_SECONDS
    with drain.track() as taken:
        assert not taken


def test_requests_are_taken_while_one_that_was_taken_runs() -> None:
    clock = Clock()
    drain = Drain(grace_seconds=8.0, clock=clock)
    with drain.track():
        drain.begin()
        clock.now += 600.0
        with drain.track() as taken:
            assert taken


async def test_what_comes_when_the_drain_is_over_is_refused() -> None:
    clock = Clock()
    drain = Drain(grace_seconds=8.0, clock=clock)
    drain.begin()
    clock.now = 8.0
    await drain.wait_empty()
    clock.now = 0.0
    with drain.track() as taken:
        assert not taken


async def test_a_draining_gateway_answers_all_that_comes_and_asks_to_close(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(drain_grace_seconds=0.2)
    draining = asyncio.create_task(client.drain(gateway, 30))
    await until(lambda: gateway.drain.draining)
    for _ in range(5):
        asked = asyncio.create_task(client.post(gateway))
        await (await server.next_call()).answer()
        answer = await asked
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert (await client.get(gateway, "/ready")).status == 503
    assert (await draining).status == 200
    refused = await client.post(gateway)
    assert (refused.status, (await refused.json())["error"]["code"]) == (503, "draining")
    assert refused.headers["Connection"] == "close" and "Retry-After" in refused.headers


async def test_a_drain_shorter_than_its_grace_ends_in_time(start: Start, client: Client) -> None:
    gateway = await start(drain_grace_seconds=3600.0)
    drained = await client.drain(gateway, 0.01)
    assert (drained.status, await drained.json()) == (200, {"drained": True})
    assert gateway.drain.refuses()


async def run_program(server: FakeModelServer, *flags: str, **options: Any) -> asyncio.subprocess.Process:
    words = (
        f"-m pagoda_gateway sidecar --listen 127.0.0.1:0 --admin 127.0.0.1:0 --upstream {server.socket} --model-name m"
    )
    words += " --namespace n --model-deployment d --max-queued 1 --max-queued-tokens 1000 --max-wait-seconds 5"
    words += " --backlog-drain-seconds 1"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *words.split(), *flags),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith("server_image"))},
        **options,
    )


async def test_first_signal_drains_and_the_second_ends_at_once(server: FakeModelServer) -> None:
    process = await run_program(server, "--drain-grace-seconds", "3600")
    async with asyncio.timeout(20):
        assert process.stderr is not None
        await process.stderr.readuntil(b"gateway listens")
        process.send_signal(signal.SIGTERM)
        await process.stderr.readuntil(b"drain begins")
        assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 1


async def test_signalled_program_ends_when_empty(server: FakeModelServer) -> None:
    process = await run_program(server, "--drain-grace-seconds", "0")
    async with asyncio.timeout(20):
        assert process.stderr is not None
        await process.stderr.readuntil(b"gateway listens")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_program_may_open_as_many_files_as_it_is_let(server: FakeModelServer) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    process = await run_program(server, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)))
    async with asyncio.timeout(20):
        assert process.stderr is not None
        await process.stderr.readuntil(b"gateway listens")
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        process.kill()
        await process.wait()


async def test_bad_setting_stops_the_program_with_its_name(server: FakeModelServer) -> None:
    process = await run_program(server, "--ping-seconds", "0")
    _, said = await process.communicate()
    assert process.returncode == 2 and b"ping_seconds" in said


async def test_program_relays_apart_and_closes_the_upstream_of_a_client_that_left(
    server: FakeModelServer, client: Client
) -> None:
    process = await run_program(server, "--drain-grace-seconds", "0")
    async with asyncio.timeout(20):
        assert process.stderr is not None
        line = await process.stderr.readuntil(b"\n")
        port = int(line.split(b" port=")[1].split()[0])
        asked = asyncio.create_task(client.session.post(f"http://127.0.0.1:{port}/v1/completions", data=b"{}"))
        call = await server.next_call()
        await call.start_stream()
        await call.chunk(b"data: 1\n\n")
        response = await asked
        assert await response.content.readany() == b"data: 1\n\n"
        response.close()
        await call.gone.wait()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
