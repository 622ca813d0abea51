"""Missing is missing: no pod that cannot tell its load counts as 0."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pagoda_operator.scrape import LoadUnknownError, Scraper, parse_load, sum_demand

LOAD: dict[str, Any] = {"tokens_per_second": 5, "demand_tokens_per_second": 7.5, "capacity_tokens_per_second": None}


def pod(name: str, *, ready: bool = True, ip: str = "127.0.0.1") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": {"name": name, "uid": name}, "status": {"podIP": ip, "conditions": conditions}}


def test_demand_is_the_sum_over_ready_pods() -> None:
    loads = {"a": parse_load(LOAD), "b": parse_load(LOAD)}
    assert sum_demand([pod("a"), pod("b"), pod("c", ready=False)], loads) == 15


def test_a_ready_pod_without_a_figure_makes_the_demand_unknown() -> None:
    with pytest.raises(LoadUnknownError, match="b"):
        sum_demand([pod("a"), pod("b")], {"a": parse_load(LOAD)})


def test_no_ready_pod_makes_the_demand_unknown() -> None:
    with pytest.raises(LoadUnknownError, match="no pod is ready"):
        sum_demand([pod("a", ready=False)], {})


async def test_an_answer_is_shared_for_two_seconds_and_an_error_is_missing() -> None:
    asked, code = 0, 200

    async def load(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response(LOAD, status=code)

    app = web.Application()
    app.router.add_get("/load", load)
    now = 0.0
    async with TestServer(app, host="127.0.0.1") as server:
        scraper = Scraper(port=server.port or 0, clock=lambda: now)
        assert (await scraper.read_loads([pod("a")]))["a"].demand_tokens_per_second == 7.5
        now = 1.9
        await scraper.read_loads([pod("a")])
        assert asked == 1
        now, code = 2.0, 503
        assert await scraper.read_loads([pod("a")]) == {}
        await scraper.close()
