"""A front's spans: only where its caller traces, with numbers of the request and of the engine, and without a word."""

import asyncio
import json
import subprocess
import sys

import aiohttp
import pytest

from pagoda_server.http.tracing import MAX_TRACED_SEQUENCES, Tracer
from tests.doubles.served import Stack
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

PATH = "/v1/completions"
NAME = f"POST {PATH}"
BODY = {"model": "tiny", "prompt": "Hello", "max_tokens": 6, "temperature": 0.5}


@pytest.fixture
def spans(stack: Stack) -> KeptSpans:
    kept = KeptSpans()
    stack.api.begin_trace = Tracer(kept.tracing, "tiny").begin
    return kept


async def ask(
    stack: Stack,
    http: aiohttp.ClientSession,
    *,
    traceparent: str | None = TRACEPARENT,
    path: str = PATH,
    **changes: object,
) -> tuple[int, str]:
    headers = {} if traceparent is None else {"traceparent": traceparent}
    async with http.post(stack.url + path, json={**BODY, **changes}, headers=headers) as response:
        answer = response.status, await response.text()
    await stack.idle()
    return answer


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_one_span_with_the_engines_below_it(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans, stream: bool
) -> None:
    status, text = await ask(stack, http, stream=stream)
    assert status == 200
    request = spans.one(NAME, "SERVER")
    assert (find_ids(request)[0], find_parent_id(request)) == (TRACE_ID, PARENT_ID)
    assert [event.name for event in request.events] == ["submitted", "first token"]
    attributes = read_attributes(request)
    assert (
        attributes
        | {
            "gen_ai.operation.name": "text_completion",
            "gen_ai.request.model": "tiny",
            "gen_ai.request.max_tokens": 6,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stream": stream,
            "gen_ai.usage.output_tokens": 6,
            "gen_ai.usage.cache_read.input_tokens": 2,
            "gen_ai.response.finish_reasons": ("length",),
            "http.response.status_code": 200,
        }
        == attributes
    )
    engine = [spans.one(name) for name in ("engine queue", "prefill", "decode")]
    assert {find_parent_id(span) for span in engine} == {find_ids(request)[1]}
    times = [(span.start_time or 0, span.end_time or 0) for span in engine]
    assert times[0][1] - times[0][0] == pytest.approx(1e9, rel=0.01)
    assert times[1][0] == pytest.approx(times[0][1], abs=1e7) and times[2][0] == pytest.approx(times[1][1], abs=1e7)
    assert read_attributes(engine[1])["pagoda.engine.steps"] == 5
    assert read_attributes(engine[2])["gen_ai.usage.output_tokens"] == 6
    said = "".join(str(span.to_json()) for span in spans.all())
    assert "Hello" not in said and text not in said


@pytest.mark.parametrize(
    ("traceparent", "path"), [(None, PATH), (NOT_SAMPLED, PATH), ("garbage", PATH), (TRACEPARENT, f"/check{PATH}")]
)
async def test_what_nobody_traces_has_no_span_and_its_engine_is_not_asked(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans, traceparent: str | None, path: str
) -> None:
    assert (await ask(stack, http, traceparent=traceparent, path=path))[0] == 200
    assert spans.all() == ()
    assert not any(submit.is_traced for submit in stack.engine.submitted)


async def test_the_first_sequences_of_a_wide_request_have_spans(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans
) -> None:
    count = MAX_TRACED_SEQUENCES + 3
    assert (await ask(stack, http, prompt=["Hello"] * count))[0] == 200
    assert read_attributes(spans.one(NAME))["gen_ai.request.choice.count"] == count
    indices = [read_attributes(span)["pagoda.choice.index"] for span in spans.all() if span.name == "prefill"]
    assert sorted(map(int, map(str, indices))) == list(range(MAX_TRACED_SEQUENCES))


async def test_a_refused_request_says_why(stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans) -> None:
    assert (await ask(stack, http, model="other"))[0] == 404
    (refused,) = spans.all()
    assert read_attributes(refused)["error.type"] == "model_not_found"
    assert refused.status.status_code.name == "UNSET", "a 4xx is no error of a server's span"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_the_engine_fails_is_an_error(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans, stream: bool
) -> None:
    stack.engine.fails = True
    await ask(stack, http, stream=stream)
    assert read_attributes(spans.one(NAME))["error.type"] == "engine_error"
    assert not spans.one(NAME).status.is_ok


async def test_a_client_that_leaves_ends_the_spans_with_an_error(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans
) -> None:
    stack.engine.gate = asyncio.Event()
    async with http.post(
        stack.url + PATH, json={**BODY, "stream": True}, headers={"traceparent": TRACEPARENT}
    ) as response:
        await response.content.readline()
    await stack.engine.aborted.get()
    await stack.idle()
    assert read_attributes(spans.one(NAME))["error.type"] == "client_left"
    assert not spans.one(NAME).status.is_ok
    assert {"prefill", "decode"} <= set(spans.names())


async def test_a_value_of_a_histogram_names_its_trace(
    stack: Stack, http: aiohttp.ClientSession, spans: KeptSpans
) -> None:
    await ask(stack, http, stream=True)
    async with http.get(f"{stack.url}/metrics", headers={"Accept": "application/openmetrics-text"}) as answer:
        page = await answer.text()
    for name in ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds"):
        lines = [line for line in page.splitlines() if line.startswith(f"pagoda_server_{name}_bucket") and "#" in line]
        assert lines and all(TRACE_ID in line for line in lines), name


def test_a_front_that_traces_nothing_does_not_import_opentelemetry() -> None:
    code = "import sys, json, pagoda_server.process.front; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not [name for name in json.loads(found.stdout) if name.startswith("opentelemetry")]
