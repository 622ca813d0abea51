import json
from dataclasses import replace

import pytest
from aiohttp import web

from bench.serving.beside_batch import ENDPOINT, BesideBatch, build_input, measure
from bench.serving.http_load import Load, Report
from tests.doubles.loopback import serving

LOAD = Load(url="", model="m", streams=2, requests=4, tokens_in=3, tokens_out=5)


def build_report(load: Load, ttft: float) -> Report:
    return Report(
        streams=load.streams,
        requests=load.requests,
        failed=0,
        first_error="",
        output_tokens_per_second=1.0,
        ttft_p50_ms=ttft,
        ttft_p99_ms=ttft,
        itl_p50_ms=1.0,
        itl_p99_ms=1.0,
        itl_max_ms=1.0,
    )


class Batches:
    """An endpoint on which a batch completes one more request with each question."""

    def __init__(self, status: str = "in_progress") -> None:
        self.status = status
        self.asked = 0
        self.cancelled = 0

    async def take(self, request: web.Request) -> web.Response:
        if request.path == "/v1/files":
            form = await request.post()
            assert form["purpose"] == "batch"
            return web.json_response({"id": "file-1"})
        if request.path == "/v1/batches":
            assert (await request.json())["input_file_id"] == "file-1"
            return web.json_response({"id": "batch-1"})
        if request.path.endswith("/cancel"):
            self.cancelled += 1
            return web.json_response({})
        self.asked += 1
        return web.json_response(
            {
                "status": self.status,
                "errors": None,
                "request_counts": {"completed": self.asked},
                "usage": {"output_tokens": 5 * self.asked},
            }
        )


async def run(batches: Batches) -> BesideBatch:
    times = iter([9.0, 10.0, 12.0])

    def measure_once(load: Load) -> Report:
        return build_report(load, next(times))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", batches.take)
    async with serving(app) as url:
        return await measure(replace(LOAD, url=url), 10, grow_seconds=0.0, run=measure_once)


async def test_live_streams_are_measured_alone_and_beside_a_batch_that_is_cancelled() -> None:
    batches = Batches()
    found = await run(batches)
    assert (found.alone.ttft_p99_ms, found.beside.ttft_p99_ms, found.ttft_p99_ratio) == (10.0, 12.0, 1.2)
    assert (found.batch_requests, found.batch_output_tokens) == (1, 5)
    assert batches.cancelled == 1


async def test_a_batch_that_ends_too_early_is_no_measurement() -> None:
    batches = Batches("completed")
    with pytest.raises(RuntimeError, match="too early"):
        await run(batches)
    assert batches.cancelled == 1


def test_each_line_is_a_request_of_the_load() -> None:
    lines = [json.loads(line) for line in build_input(LOAD, 3).splitlines()]
    assert [line["custom_id"] for line in lines] == ["0", "1", "2"]
    assert {(line["url"], line["body"]["max_tokens"], len(line["body"]["prompt"])) for line in lines} == {
        (ENDPOINT, 5, 3)
    }
