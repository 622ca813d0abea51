"""`pagoda run` from outside: one URL over crashes and changes, with real processes and sockets."""

import asyncio
import os
import signal
from dataclasses import dataclass

import aiohttp
import pytest

from tests.contract.run.conftest import Run


@dataclass(frozen=True)
class Answer:
    status: int
    name: str
    pid: int


async def ask(run: Run, http: aiohttp.ClientSession) -> Answer:
    async with http.post(f"{run.url}/v1/completions", json={"prompt": "x"}) as response:
        body = await response.json()
        return Answer(response.status, body.get("name", ""), body.get("pid", 0))


async def ask_alone(run: Run) -> Answer:
    """On a connection of its own, so that it may come to any replica."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        return await ask(run, session)


async def ask_steadily(run: Run, http: aiohttp.ClientSession | None, answers: list[Answer]) -> None:
    while True:
        answers.append(await (ask(run, http) if http is not None else ask_alone(run)))


async def find_pids(run: Run, count: int) -> set[int]:
    pids: set[int] = set()
    async with asyncio.timeout(60):
        while len(pids) < count:
            pids |= {answer.pid for answer in await asyncio.gather(*(ask_alone(run) for _ in range(4)))}
    return pids


async def test_changed_file_fails_no_request_and_cuts_no_stream(run: Run, http: aiohttp.ClientSession) -> None:
    run.write("old", replicas=2)
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    stream = await http.post(f"{run.url}/v1/chat/completions", json={})
    assert await stream.content.readline() == b"data: begin\n"
    answers: list[Answer] = []
    clients = [asyncio.create_task(ask_steadily(run, session, answers)) for session in (http, None, None)]
    await run.until(lambda: len(answers) > 20)
    run.write("new", replicas=2)
    await run.until(lambda: run.times("Ready", run.url) == 2)
    await run.until(lambda: any(answer.name == "new" for answer in answers))
    assert run.times("Retired") == 0
    (run.folder / "release").touch()
    assert (await stream.read()).endswith(b"data: end of old\n\n")
    await run.until(lambda: run.times("Retired", "old") == 1)
    seen = len(answers)
    await run.until(lambda: len(answers) > seen + 20)
    assert not any(client.done() for client in clients), clients
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    assert {answer.status for answer in answers} == {200}
    assert {answer.name for answer in answers[seen + 5 :]} == {"new"}


async def test_crashed_server_comes_back_while_requests_go_to_the_other_replica(
    run: Run, http: aiohttp.ClientSession
) -> None:
    run.write("tiny", replicas=2)
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    crashed, other = await find_pids(run, 2)
    run.said.clear()  # NB: of two that start one may have been ready first
    run.set_ready(False)
    os.kill(crashed, signal.SIGKILL)
    await run.until(lambda: run.times("PodsReady", "1 of 2") == 1)
    assert run.times("Restarting", "server in 1 s: ended by signal 9 (out of memory?)") == 1
    answers = [await ask_alone(run) for _ in range(20)]
    assert {(answer.status, answer.pid) for answer in answers} == {(200, other)}
    run.set_ready(True)
    await run.until(lambda: run.times("PodsReady", "2 of 2") == 1)
    assert crashed not in await find_pids(run, 2)


async def test_clients_are_told_to_come_again_while_no_replica_is_ready(run: Run, http: aiohttp.ClientSession) -> None:
    run.set_ready(False)
    run.write("tiny")
    run.start()
    await run.until(lambda: run.times("Starting") == 1)
    async with http.post(f"{run.url}/v1/completions", json={}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert (await response.json())["error"]["code"] == "not_ready"
    run.set_ready(True)
    await run.until(lambda: run.times("Ready", run.url) == 1)
    assert (await ask_alone(run)).status == 200


async def test_a_model_on_a_gpu_is_loaded_after_the_old_one_has_ended(run: Run, http: aiohttp.ClientSession) -> None:
    run.write("old", gpus=1)
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    run.set_ready(False)
    run.write("new", gpus=1)
    await run.until(lambda: run.times("Starting", "new") == 1)
    conditions = [condition for condition, _ in run.said if condition not in ("PodsReady", "NotUsed", "ChatPage")]
    assert conditions[3:] == ["Fetching", "NoSurge", "Retired", "Starting"]
    async with http.post(f"{run.url}/v1/completions", json={}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
    run.set_ready(True)
    await run.until(lambda: run.times("Ready", run.url) == 2)
    assert (await ask_alone(run)).name == "new"


async def test_a_change_that_never_becomes_ready_is_mended_by_the_next_change(
    run: Run, http: aiohttp.ClientSession
) -> None:
    run.write("old")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    run.set_ready(False)
    run.write("stuck")
    await run.until(lambda: run.times("Starting", "stuck") == 1)
    run.write("mended")
    await run.until(lambda: run.times("Starting", "mended") == 1)
    assert (await ask_alone(run)).name == "old"
    run.set_ready(True)
    await run.until(lambda: run.times("Retired", "old") == 1)
    assert (await ask_alone(run)).name == "mended"


async def test_the_end_finishes_the_stream_and_takes_nothing_new(run: Run, http: aiohttp.ClientSession) -> None:
    run.write("tiny", replicas=2)
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    stream = await http.post(f"{run.url}/v1/chat/completions", json={})
    assert await stream.content.readline() == b"data: begin\n"
    run.work.cancel()
    closing = asyncio.create_task(run.session.close())
    async with asyncio.timeout(60):
        while await connects(run.port):
            await asyncio.sleep(0.02)
    assert not closing.done()
    (run.folder / "release").touch()
    assert (await stream.read()).endswith(b"data: end of tiny\n\n")
    await closing
    assert run.times("Draining") == 1


async def connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def test_hurry_leaves_no_process(run: Run, http: aiohttp.ClientSession) -> None:
    run.write("tiny", replicas=2)
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    pids = await find_pids(run, 2)
    stream = await http.post(f"{run.url}/v1/chat/completions", json={})
    run.work.cancel()
    closing = asyncio.create_task(run.session.close())
    await stream.content.readline()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await run.session.kill()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    stream.close()


async def test_a_port_that_is_taken_is_refused_by_name(run: Run, http: aiohttp.ClientSession) -> None:
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", run.port)
    run.write("tiny")
    run.start()
    (error,) = await asyncio.gather(run.work, return_exceptions=True)
    assert f"--port: {run.port} cannot be had" in str(error)
    taken.close()


async def test_a_page_of_another_site_is_refused_at_both_ports_and_drains_nothing(
    run: Run, http: aiohttp.ClientSession
) -> None:
    run.write("tiny")
    run.start()
    await run.until(lambda: run.times("Ready", run.url) == 1)
    (generation,) = run.session._alive
    admin = generation.replicas[0].plan.admin_url
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        async with http.post(f"{run.url}/v1/completions", json={}, headers=headers) as response:
            assert response.status == 403
        async with http.post(f"{admin}/drain?seconds=1", headers=headers) as response:
            assert response.status == 403
    async with http.post(f"{admin}/drain?seconds=1", data="x", headers={"Content-Type": "text/plain"}) as response:
        assert response.status in (403, 415)
    assert (await ask_alone(run)).status == 200
