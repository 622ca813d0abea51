import asyncio
import json
import re

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from pagoda_gateway.admission import MESSAGES
from pagoda_gateway.load import READY_STALE_SECONDS, is_metrics_document
from pagoda_gateway.metrics import REJECTIONS
from pagoda_gateway.pulse import STALLED_SECONDS
from pagoda_gateway.queue import REASONS
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import SpanName, Tally
from tests.doubles.clock import Clock
from tests.doubles.model_server import LOAD, FakeModelServer

from .conftest import Client, Start, Until

METRIC_NAMES = ["requests", "queued_requests", "queued_tokens", "running_requests", "rejected", "draining"]
METRIC_NAMES += ["queue_wait_seconds", "time_to_first_byte_seconds", "demand_tokens_per_second"]
METRIC_NAMES += ["time_to_first_token_seconds"]


async def test_slots_come_from_the_server(start: Start, until: Until) -> None:
    gateway = await start(max_running=0)
    await until(lambda: gateway.queue.slots == 7)


async def test_load_adds_the_queue_to_the_demand(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    gateway = await start(backlog_drain_seconds=10.0)
    asked = [asyncio.create_task(client.post(gateway, {"max_tokens": 93})) for _ in range(2)]
    await until(lambda: gateway.queue.queued == 1 and gateway.server.fresh_load() is not None)
    load = await (await client.get(gateway, "/load")).json()
    queued_tokens = load["queued_tokens"]
    assert (load["queued"], queued_tokens) == (1, len(json.dumps({"max_tokens": 93})) // 4 + 93)
    assert load["demand_tokens_per_second"] == 100.0 + (50 + queued_tokens) / 10.0
    assert load["capacity_tokens_per_second"] is None and load["max_num_seqs"] == 7
    for _ in asked:
        await (await server.next_call()).answer()
    await asyncio.gather(*asked)


async def test_stale_load_is_503_and_never_zero(
    server: FakeModelServer, start: Start, client: Client, until: Until
) -> None:
    clock = Clock(1000.0)
    gateway = await start(clock=clock)
    await until(lambda: gateway.server.fresh_load() is not None)
    await server.stop()
    await until(lambda: not gateway.server.ready())
    clock.now += 15.0
    assert (await client.get(gateway, "/load")).status == 200
    clock.now += 0.1
    assert (await client.get(gateway, "/load")).status == 503
    page = await (await client.get(gateway, "/metrics")).text()
    assert re.search(r"demand_tokens_per_second\{[^}]*\} NaN", page)


async def test_load_that_cannot_be_read_is_503(server: FakeModelServer, start: Start, client: Client) -> None:
    server.load = {"tokens_per_second": "many"}
    gateway = await start()
    await gateway.server.poll()
    assert (await client.get(gateway, "/load")).status == 503


BAD_LOADS: dict[str, object] = {
    "not UTF-8": b'{"tokens_per_second": "\xff"}',
    "nested": b"[" * 30_000 + b"]" * 30_000,
    "no object": None,
    "no end": b"1" * 10_000_000,
    "not finite": json.dumps(LOAD).replace("100.0", "1e999").encode(),
    "401 digits": json.dumps(LOAD).replace("100.0", "9" * 401).encode(),
    "NaN": json.dumps(LOAD).replace("100.0", "NaN").encode(),
    "negative": {**LOAD, "backlog_tokens": -1},
    "no slots": {**LOAD, "max_num_seqs": 0},
    "slots without bound": {**LOAD, "max_num_seqs": 10**9},
}


@pytest.mark.parametrize("load", BAD_LOADS.values(), ids=BAD_LOADS.keys())
async def test_a_load_that_cannot_be_read_is_unknown_said_once_and_the_watch_goes_on(
    server: FakeModelServer, start: Start, client: Client, until: Until, caplog: pytest.LogCaptureFixture, load: object
) -> None:
    server.load = load
    gateway = await start(max_running=0)
    await until(gateway.server.ready)
    for _ in range(3):
        await gateway.server.poll()
    assert (await client.get(gateway, "/load")).status == 503
    assert (await client.get(gateway, "/health")).status == (await client.get(gateway, "/ready")).status == 200
    assert [record.getMessage()[:30] for record in caplog.records].count("server figures cannot be read ") == 1
    assert all(len(record.getMessage()) < 300 for record in caplog.records)
    server.load = LOAD
    await until(lambda: gateway.server.fresh_load() is not None and gateway.queue.slots == 7)


async def test_a_ready_server_whose_size_cannot_be_read_still_serves(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    server.load = b"\xff"
    gateway = await start(max_running=0)
    asked = asyncio.create_task(client.post(gateway))
    await (await server.next_call()).answer()
    assert (await asked).status == 200


async def test_a_watch_that_fails_is_counted_and_one_that_does_not_go_round_shows_in_health(
    start: Start, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(1000.0)
    gateway = await start(clock=clock)
    await until(gateway.server.ready)

    async def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gateway.server, "poll", fail)
    await until(lambda: b'task="server_watch"} 1.0' in gateway.metrics.render())
    assert (await client.get(gateway, "/health")).status == 200
    clock.now += STALLED_SECONDS + 0.1
    stalled = await client.get(gateway, "/health")
    assert (stalled.status, await stalled.json()) == (503, {"status": "stalled", "loops": ["server_watch"]})


async def test_a_server_that_hangs_makes_the_gateway_unready(
    server: FakeModelServer, start: Start, client: Client, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pagoda_gateway.load.POLL_TIMEOUT_SECONDS", 0.02)
    clock = Clock(1000.0)
    gateway = await start(clock=clock)
    await until(gateway.server.ready)
    server.hangs = True
    clock.now += READY_STALE_SECONDS + 0.1
    await until(lambda: not gateway.server.ready())
    assert (await client.get(gateway, "/ready")).status == 503


@pytest.mark.parametrize(
    "page",
    [b"no_end 1", b"\xff 1\n", b"up one two three\n", b"<html>\n", b"pagoda_gateway_draining 1\n", b"a 1\n\x00\n"],
)
async def test_a_page_that_would_spoil_the_gateways_own_is_left_out(
    server: FakeModelServer, start: Start, client: Client, page: bytes
) -> None:
    server.metrics_page = page
    gateway = await start()
    shown = await (await client.get(gateway, "/metrics")).read()
    assert page not in shown and list(text_string_to_metric_families(shown.decode()))
    assert re.search(rb"^pagoda_gateway_server_up\{.*\} 0.0$", shown, re.MULTILINE)


async def test_ready_follows_the_server(server: FakeModelServer, start: Start, client: Client, until: Until) -> None:
    gateway = await start()
    await until(gateway.server.ready)
    assert (await client.get(gateway, "/ready")).status == 200
    server.ready_status = 503
    await until(lambda: not gateway.server.ready())
    assert (await client.get(gateway, "/ready")).status == 503
    assert (await client.get(gateway, "/health")).status == 200


async def test_every_metric_names_its_deployment(server: FakeModelServer, start: Start, client: Client) -> None:
    gateway = await start()
    asked = asyncio.create_task(client.post(gateway))
    await (await server.next_call()).answer()
    await asked
    families = list(text_string_to_metric_families(await (await client.get(gateway, "/metrics")).text()))
    ours = [family for family in families if not family.name.startswith("process_")]  # Prometheus names the pod
    samples = [sample for family in ours for sample in family.samples]
    assert {family.name for family in families} >= {f"pagoda_gateway_{name}" for name in METRIC_NAMES}
    wanted = {"namespace": "ns", "model_deployment": "md", "model_name": "m"}
    assert samples and all(wanted.items() <= sample.labels.items() for sample in samples)


async def test_a_status_that_alerts_ask_for_is_shown_before_it_is_first_given(start: Start) -> None:
    page = (await start()).metrics.render().decode()
    shown = dict(re.findall(r'^pagoda_gateway_requests_total\{code="(\d+)".*\} (.*)$', page, re.MULTILINE))
    assert shown == dict.fromkeys(("200", "429", "500", "502", "503"), "0.0")


async def test_a_refusal_that_the_board_shows_is_counted_from_0(start: Start) -> None:
    page = (await start()).metrics.render().decode()
    shown = dict(re.findall(r'^pagoda_gateway_rejected_total\{.*reason="(\w+)"\} (.*)$', page, re.MULTILINE))
    assert shown == dict.fromkeys(REJECTIONS, "0.0")
    assert {*MESSAGES, *REASONS.values()} <= shown.keys()


async def test_a_path_of_the_clients_own_making_makes_no_series(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    gateway = await start()
    for path in ("/v1/a", "/v1/b"):
        asked = asyncio.create_task(client.get(gateway, path))
        await (await server.next_call()).answer()
        await asked
    page = await (await client.get(gateway, "/metrics")).text()
    families = text_string_to_metric_families(page)
    counted = [sample for family in families for sample in family.samples if sample.name == "http_requests_total"]
    told = [(sample.labels["handler"], sample.labels["status"], sample.value) for sample in counted]
    assert told == [("other", "2xx", 2)]


async def test_the_servers_page_follows_the_gateways_and_no_family_appears_twice(
    server: FakeModelServer, start: Start, client: Client
) -> None:
    server.metrics_page = ServerMetrics(ModelLabels("m", "ns", "md"), lambda: None, Tally.build_single()).render()
    gateway = await start()
    answer = await client.get(gateway, "/metrics")
    page = await answer.read()
    assert page.endswith(server.metrics_page) and answer.content_type == "text/plain"
    names = re.findall(r"^# TYPE (\S+)", page.decode(), re.MULTILINE)
    assert len(names) == len(set(names))
    assert {"pagoda_server_time_to_first_token_seconds", "pagoda_gateway_queued_requests"} <= set(names)
    assert b'pagoda_gateway_server_up{model_deployment="md",model_name="m",namespace="ns"} 1.0' in page


@pytest.mark.parametrize("is_up", [True, False])
async def test_a_page_in_openmetrics_is_one_page_with_one_end(
    server: FakeModelServer, start: Start, client: Client, is_up: bool
) -> None:
    tally = Tally.build_single()
    metrics = ServerMetrics(ModelLabels("m", "ns", "md"), lambda: None, tally)
    metrics.first_token(0.003, SpanName(10, 11))
    server.metrics_page = metrics.render(in_openmetrics=is_up)
    gateway = await start()
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    answer = await client.session.get(f"http://127.0.0.1:{gateway.port}/metrics", headers={"Accept": accept})
    page = await answer.text()
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in parse_openmetrics(page)}
    assert page.count("# EOF") == 1
    (up,) = families["pagoda_gateway_server_up"].samples
    assert up.value == is_up, "a server that answers in another format counts as one that does not"
    assert ("pagoda_server_time_to_first_token_seconds" in families) is is_up


@pytest.mark.parametrize(
    "page",
    [
        b"a 1\n",
        b"a 1\n# EOF",
        b"a 1\n# EOF\n# EOF\n",
        b"# EOF\na 1\n# EOF\n",
        b"\n# EOF\n",
        b'a 1 # {trace_id="\n"} 1\n# EOF\n',
        b"pagoda_gateway_x 1\n# EOF\n",
    ],
)
def test_a_page_that_would_spoil_the_gateways_is_none(page: bytes) -> None:
    assert not is_metrics_document(page, in_openmetrics=True)


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_server_that_does_not_answer_shows_as_down_and_hides_nothing(
    server: FakeModelServer, start: Start, client: Client, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr("pagoda_gateway.load.METRICS_TIMEOUT_SECONDS", 0.05)
    gateway = await start()
    if hangs:
        server.metrics_page = None
    else:
        await server.stop()
    page = await (await client.get(gateway, "/metrics")).text()
    assert re.search(r"^pagoda_gateway_server_up\{.*\} 0.0$", page, re.MULTILINE)
    assert "pagoda_gateway_queued_requests{" in page


async def test_unknown_path_is_an_openai_error(start: Start, client: Client) -> None:
    gateway = await start()
    refused = await client.get(gateway, "/admin")
    assert refused.status == 404 and (await refused.json())["error"]["code"] == "not_found"
