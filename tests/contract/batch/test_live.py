"""What batches may never do: hold up live requests, count as demand, or keep a gateway from leaving."""

import asyncio
import json
from typing import Any

import aiohttp

from tests.contract.batch.conftest import Gateway, Model, Start, build_completion, build_input
from tests.contract.batch.test_batches import make, read_lines, wait_for
from tests.doubles.model_server import Call


class Held:
    """A server that holds every batch request until it is let go, and live ones too."""

    def __init__(self, model: Model) -> None:
        self.batch: list[Call] = []
        self.live: list[Call] = []
        self.open = False
        model.reply = self.take

    async def take(self, call: Call) -> None:
        said = json.loads(call.body)["messages"][0]["content"]
        if self.open:
            await self.answer(call)
            return
        (self.live if said == "live" else self.batch).append(call)
        await call.gone.wait()

    async def answer(self, call: Call) -> None:
        said = json.loads(call.body)["messages"][0]["content"]
        await call.answer(json.dumps(build_completion(said)).encode())

    def batch_running(self) -> int:
        return sum(not call.gone.is_set() for call in self.batch)


async def ask_live(gateway: Gateway) -> Any:
    return await gateway.client.chat.completions.create(model="m", messages=[{"role": "user", "content": "live"}])


async def until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


async def read_load(gateway: Gateway) -> dict[str, Any]:
    url = f"http://127.0.0.1:{gateway.sidecar.port}/load"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return dict(await response.json())


async def test_a_batch_fills_the_gaps_and_gives_way_at_once(start: Start, model: Model) -> None:
    held = Held(model)
    model.server.load = {**model.server.load, "max_num_seqs": 8}  # type: ignore[dict-item]
    gateway = await start()
    batch = await make(gateway.client, build_input(40))
    await until(lambda: held.batch_running() == 6)  # three quarters of the rows
    asking = [asyncio.ensure_future(ask_live(gateway)) for _ in range(8)]
    await until(lambda: len(held.live) == 8)
    await until(lambda: held.batch_running() == 0)
    assert gateway.sidecar.queue.queued == 0
    held.open = True
    for call in held.live:
        await held.answer(call)
    await asyncio.gather(*asking)
    done = await wait_for(gateway.client, batch, "completed")
    assert done.request_counts is not None and done.request_counts.completed == 40
    lines = await read_lines(gateway.client, done.output_file_id)
    assert len({line["custom_id"] for line in lines}) == len(lines) == 40


async def test_a_batch_is_no_demand_and_no_running_request(start: Start, model: Model) -> None:
    held = Held(model)
    model.server.load = {**model.server.load, "tokens_per_second": 500.0, "backlog_tokens": 0}  # type: ignore[dict-item]
    gateway = await start()
    await until(lambda: gateway.sidecar.server.fresh_load() is not None)
    assert (await read_load(gateway))["demand_tokens_per_second"] == 500.0
    batch = await make(gateway.client, build_input(20))
    await until(lambda: held.batch_running() >= 8)
    share = gateway.sidecar.batches
    assert share is not None
    await until(lambda: share.find_share() > 0.9)
    load = await read_load(gateway)
    assert load["demand_tokens_per_second"] < 50 and load["batch_tokens_per_second"] > 450
    assert gateway.sidecar.queue.running == 0
    held.open = True
    for call in held.batch:
        await held.answer(call)
    await wait_for(gateway.client, batch, "completed")


async def test_a_gateway_that_drains_ends_what_runs_and_another_goes_on(start: Start, model: Model) -> None:
    held = Held(model)
    first = await start()
    batch = await make(first.client, build_input(30))
    await until(lambda: held.batch_running() >= 2)
    first.sidecar.begin_drain()
    draining = asyncio.ensure_future(first.sidecar.drain.wait_empty())
    begun = len(held.batch)
    assert not draining.done()
    for call in held.batch:
        await held.answer(call)
    await asyncio.wait_for(draining, 5)
    assert len(held.batch) == begun
    held.open = True
    second = await start()
    done = await wait_for(second.client, batch, "completed")
    assert done.request_counts is not None and done.request_counts.completed == 30
    assert len(model.asked) == 30


async def test_metrics_tell_of_batches_with_bounded_labels(start: Start, model: Model) -> None:
    gateway = await start()
    await wait_for(gateway.client, await make(gateway.client, build_input(3)), "completed")
    page = gateway.sidecar.metrics.render().decode()
    labels = 'model_deployment="md",model_name="m",namespace="ns"'
    assert f'pagoda_gateway_batch_requests_total{{{labels},outcome="completed"}} 3.0' in page
    assert f'pagoda_gateway_batch_tokens_total{{kind="output",{labels}}} 6.0' in page
    assert 'handler="/v1/batches/{batch_id}"' in page and "batch-0" not in page
