"""The gateway's spans: one trace from the client's context to the server's, and none where nobody asked."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from pagoda_gateway.relay import build_headers
from pagoda_gateway.settings import Settings
from pagoda_gateway.tracing import Tracer
from tests.doubles.model_server import FakeModelServer
from tests.doubles.spans import (
    NOT_SAMPLED,
    PARENT_ID,
    TRACE_ID,
    TRACEPARENT,
    KeptSpans,
    find_ids,
    find_parent_id,
    read_attributes,
)

from .conftest import Client, Start, Until

NAME = "POST /v1/completions"
PROMPT = "a prompt that nobody may read"


@pytest.fixture
def spans() -> KeptSpans:
    return KeptSpans()


def trace_with(spans: KeptSpans, draw: float = 0.0) -> dict[str, Any]:
    """Returns the options of a sidecar that keeps its spans; every request draws this number."""

    def build(settings: Settings) -> Tracer:
        return Tracer(spans.tracing, settings, draw=lambda: draw)

    return {"trace": build, "tracing_sampling_ratio": 0.5}


async def test_a_request_is_one_trace_of_request_queue_and_call(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans
) -> None:
    gateway = await start(**trace_with(spans))
    asking = asyncio.create_task(client.post(gateway, {"prompt": PROMPT}, headers={"Authorization": "Bearer secret"}))
    call = await server.next_call()
    await call.answer()
    assert (await asking).status == 200
    request, queue, called = spans.one(NAME, "SERVER"), spans.one("queue"), spans.one(NAME, "CLIENT")
    trace_id, request_id = find_ids(request)
    assert find_parent_id(request) is None
    assert find_parent_id(queue) == find_parent_id(called) == request_id
    version, *told, flags = call.headers["traceparent"].split("-")
    assert (version, *told) == ("00", trace_id, find_ids(called)[1])
    assert int(flags, 16) & 1
    assert [event.name for event in request.events] == ["first byte"]
    assert read_attributes(request) == {
        "gen_ai.request.model": "m",
        "pagoda.model_deployment": "md",
        "pagoda.tenant": "anonymous",
        "pagoda.request_id": call.headers["x-request-id"],
        "http.request.method": "POST",
        "http.route": "/v1/completions",
        "http.response.status_code": 200,
    }
    assert PROMPT not in "".join(map(str, (span.to_json() for span in spans.all())))
    assert "secret" not in "".join(map(str, (span.to_json() for span in spans.all())))


async def test_a_callers_trace_goes_on_with_its_state(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans
) -> None:
    gateway = await start(**trace_with(spans))
    headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    asking = asyncio.create_task(client.post(gateway, headers=headers))
    call = await server.next_call()
    await call.answer()
    await asking
    assert find_ids(spans.one(NAME, "SERVER"))[0] == TRACE_ID
    assert find_parent_id(spans.one(NAME, "SERVER")) == PARENT_ID
    assert call.headers["traceparent"].split("-")[1] == TRACE_ID
    assert call.headers["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        f"00-{TRACE_ID}-{PARENT_ID}",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-01-more",
        f"00-{TRACE_ID}-{PARENT_ID}-01" + "x" * 4000,
    ],
)
async def test_a_context_that_is_none_begins_a_new_trace(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans, traceparent: str
) -> None:
    gateway = await start(**trace_with(spans))
    asking = asyncio.create_task(client.post(gateway, headers={"traceparent": traceparent}))
    await (await server.next_call()).answer()
    assert (await asking).status == 200
    assert find_ids(spans.one(NAME, "SERVER"))[0] != TRACE_ID
    assert find_parent_id(spans.one(NAME, "SERVER")) is None


@pytest.mark.parametrize(
    ("follows", "draw", "traceparent", "is_traced"),
    [
        (False, 0.9, TRACEPARENT, False),
        (False, 0.4, NOT_SAMPLED, True),
        (False, 0.5, None, False),
        (True, 0.9, TRACEPARENT, True),
        (True, 0.4, NOT_SAMPLED, False),
        (True, 0.4, None, True),
        (True, 0.9, "garbage", False),
    ],
)
async def test_a_caller_decides_what_is_traced_only_where_it_is_followed(
    start: Start,
    server: FakeModelServer,
    client: Client,
    spans: KeptSpans,
    follows: bool,
    draw: float,
    traceparent: str | None,
    is_traced: bool,
) -> None:
    gateway = await start(**trace_with(spans, draw), tracing_follow_parent=follows)
    headers = {} if traceparent is None else {"traceparent": traceparent}
    asking = asyncio.create_task(client.post(gateway, headers=headers))
    call = await server.next_call()
    await call.answer()
    await asking
    assert bool(spans.names()) is is_traced
    assert ("traceparent" in call.headers) is is_traced


def test_the_server_hears_of_a_trace_from_the_gateway_alone() -> None:
    told = [("Traceparent", TRACEPARENT), ("TraceState", "vendor=1"), ("X-Other", "kept")]
    own = [("X-Pagoda-Tenant", "tenant"), ("X-Request-Id", "req_1")]
    assert build_headers(told, "tenant", "req_1") == [("X-Other", "kept"), *own]


async def test_a_wait_in_the_queue_is_a_span_and_its_value_names_the_trace(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans, until: Until
) -> None:
    gateway = await start(**trace_with(spans))
    first = asyncio.create_task(client.post(gateway))
    running = await server.next_call()
    second = asyncio.create_task(client.post(gateway, headers={"traceparent": TRACEPARENT}))
    await until(lambda: gateway.queue.queued)
    await running.answer()
    await (await server.next_call()).answer()
    await asyncio.gather(first, second)
    queued = [span for span in spans.all() if span.name == "queue" and find_ids(span)[0] == TRACE_ID]
    assert len(queued) == 1
    page = gateway.metrics.render(in_openmetrics=True).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    for name in ("queue_wait_seconds", "time_to_first_byte_seconds"):
        exemplars = [sample.exemplar for sample in families[f"pagoda_gateway_{name}"].samples if sample.exemplar]
        assert TRACE_ID in {exemplar.labels["trace_id"] for exemplar in exemplars}, name


async def test_a_refusal_in_the_queue_says_which(
    start: Start, client: Client, server: FakeModelServer, spans: KeptSpans, until: Until
) -> None:
    gateway = await start(**trace_with(spans), max_queued=0)
    running = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    assert (await client.post(gateway)).status == 429
    refused = spans.one(NAME)
    assert read_attributes(refused)["error.type"] == "queue_full"
    assert refused.status.status_code.name == "UNSET", "a 4xx is no error of a server's span"
    await call.answer()
    await running


async def test_a_client_that_leaves_ends_all_spans_with_an_error(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans, until: Until
) -> None:
    gateway = await start(**trace_with(spans))
    asking = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    asking.cancel()
    await call.gone.wait()
    await until(lambda: len(spans.all()) == 3)
    assert read_attributes(spans.one(NAME, "SERVER"))["error.type"] == "client_left"
    assert not spans.one(NAME, "SERVER").status.is_ok
    assert not spans.one(NAME, "CLIENT").status.is_ok


async def test_an_answer_that_breaks_off_is_an_error_of_the_call(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans
) -> None:
    gateway = await start(**trace_with(spans))
    asking = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    response = await asking
    call.writer.close()
    await response.read()
    for kind in ("SERVER", "CLIENT"):
        assert read_attributes(spans.one(NAME, kind))["error.type"] == "upstream_broken"
        assert not spans.one(NAME, kind).status.is_ok


async def test_a_stream_is_traced_to_its_end(
    start: Start, server: FakeModelServer, client: Client, spans: KeptSpans
) -> None:
    gateway = await start(**trace_with(spans))
    asking = asyncio.create_task(client.post(gateway))
    call = await server.next_call()
    await call.start_stream()
    await call.chunk(b"data: 1\n\n")
    response = await asking
    await response.content.readany()
    assert spans.names() == ["queue"]
    await call.end_stream()
    await response.read()
    assert spans.names() == ["queue", NAME, NAME]


def test_a_gateway_that_traces_nothing_does_not_import_opentelemetry() -> None:
    code = "import sys, pagoda_gateway.sidecar; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
