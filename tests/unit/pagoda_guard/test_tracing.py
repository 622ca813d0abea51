"""Spans are sent beside what they are about: a collector that is slow, away or wrong costs spans, and no time."""

import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pagoda_guard.collector import Outcome
from pagoda_guard.tracing import BoundedProcessor, Tracing, read_parent, write_parent
from tests.doubles.spans import TRACEPARENT, KeptSpans

LIMIT_SECONDS = 30
"""That no test waits for ever; no claim about speed."""


class Collector(SpanExporter):
    """Takes a batch when `takes` is set, and says what `result` says."""

    def __init__(self) -> None:
        self.takes = threading.Event()
        self.result = SpanExportResult.SUCCESS
        self.asked = threading.Semaphore(0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.release()
        assert self.takes.wait(LIMIT_SECONDS)
        return self.result


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


@contextmanager
def tracing_to(collector: Collector, counts: Counter[str], waiting_spans: int = 4) -> Iterator[Tracing]:
    def count(outcome: Outcome, spans: int) -> None:
        counts[outcome] += spans

    tracing = Tracing(BoundedProcessor(collector, count, waiting_spans=waiting_spans), {"service.name": "test"})
    yield tracing
    collector.takes.set()
    tracing.close()


def end_spans(tracing: Tracing, number: int) -> None:
    for index in range(number):
        tracing.start_span(f"span {index}", None).end()


def test_spans_that_find_no_place_are_counted_and_nobody_waits(counts: Counter[str]) -> None:
    collector = Collector()
    with tracing_to(collector, counts) as tracing:
        end_spans(tracing, 3)
        assert collector.asked.acquire(timeout=LIMIT_SECONDS)
        end_spans(tracing, 5)
        assert counts == {"dropped": 4}, "those at the collector still have their places"
    assert counts == {"dropped": 4, "exported": 4}


def test_a_collector_that_refuses_is_said_once_and_when_it_takes_again(
    counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector()
    collector.takes.set()
    collector.result = SpanExportResult.FAILURE
    caplog.set_level(logging.INFO)
    with tracing_to(collector, counts) as tracing:
        for _ in range(2):
            end_spans(tracing, 1)
            assert collector.asked.acquire(timeout=LIMIT_SECONDS)
        collector.result = SpanExportResult.SUCCESS
        end_spans(tracing, 1)
        assert collector.asked.acquire(timeout=LIMIT_SECONDS)
    assert counts == {"failed": 2, "exported": 1}
    said = [record.message.partition(",")[0] for record in caplog.records]
    assert said == ["traces cannot be sent", "traces are sent again"]


def test_the_end_waits_for_one_batch_of_a_dead_collector_and_not_for_all(counts: Counter[str]) -> None:
    collector = Collector()
    collector.takes.set()
    collector.result = SpanExportResult.FAILURE
    with tracing_to(collector, counts, waiting_spans=2048) as tracing:
        end_spans(tracing, 1)
        assert collector.asked.acquire(timeout=LIMIT_SECONDS)
        end_spans(tracing, 100)
        collector.asked = threading.Semaphore(0)
        tracing.close()
        assert not collector.asked.acquire(blocking=False)
    assert counts == {"failed": 101}


def test_a_port_where_nobody_listens_costs_the_spans_alone(
    counts: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        tracing = Tracing.open(endpoint, {}, lambda outcome, spans: counts.update({outcome: spans}))
        end_spans(tracing, 3)
        tracing.close()
    assert counts == {"failed": 3}
    assert [record.name for record in caplog.records] == ["pagoda_guard.tracing"]


@pytest.mark.parametrize("traceparents", [[], [TRACEPARENT, TRACEPARENT], [f"{TRACEPARENT}, {TRACEPARENT}"]])
def test_a_caller_that_says_none_or_two_has_said_nothing(traceparents: list[str]) -> None:
    assert read_parent(traceparents, ()) is None


@given(st.lists(st.text() | st.just(TRACEPARENT), max_size=2), st.lists(st.text(), max_size=3))
def test_no_words_of_a_caller_raise_anything(traceparents: list[str], tracestates: list[str]) -> None:
    parent = read_parent(traceparents, tracestates)
    assert parent is None or len(traceparents) == 1
    span = KeptSpans().tracing.start_span("one", parent)
    assert all("\n" not in value for _, value in write_parent(span))


def test_what_is_written_is_read_back() -> None:
    span = KeptSpans().tracing.start_span("one", read_parent([TRACEPARENT], ["a=1", "b=2"]))
    headers = dict(write_parent(span))
    found = read_parent([headers["traceparent"]], [headers["tracestate"]])
    assert found is not None and found.span_id == span.get_span_context().span_id
    assert found.trace_flags.sampled
    assert headers["tracestate"] == "a=1,b=2"
