"""Counts of several fronts, as Prometheus reads them."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import (
    INTER_TOKEN_LATENCY,
    TIME_TO_FIRST_TOKEN,
    Example,
    SpanName,
    Tally,
    count_bytes,
)
from tests.doubles.clock import Clock

SECONDS = st.one_of(st.sampled_from(INTER_TOKEN_LATENCY.buckets), st.floats(0, 200))


def read_page(metrics: ServerMetrics, prefix: str) -> set[str]:
    return {line for line in metrics.render().decode().splitlines() if line.startswith(prefix)}


@given(st.lists(st.tuples(st.integers(0, 2), SECONDS, st.integers(1, 3))))
def test_the_page_is_that_of_one_histogram_that_saw_all(observations: list[tuple[int, float, int]]) -> None:
    memory, registry = bytearray(count_bytes(3)), CollectorRegistry()
    tallies = [Tally(memory, number) for number in range(3)]
    labels, name = ModelLabels("m", "ns", "md"), f"pagoda_server_{INTER_TOKEN_LATENCY.name}"
    values = {"namespace": "ns", "model_deployment": "md", "model_name": "m"}
    one = Histogram(name, "text", list(values), buckets=INTER_TOKEN_LATENCY.buckets, registry=registry).labels(**values)
    for number, seconds, times in observations:
        tallies[number].observe(INTER_TOKEN_LATENCY, seconds, times)
        for _ in range(times):
            one.observe(seconds)
    expected = {line for line in generate_latest(registry).decode().splitlines() if line.startswith(name)}
    pages = [read_page(ServerMetrics(labels, lambda: None, tally), name) for tally in tallies]
    assert pages[0] == pages[1] == pages[2]
    counts = {line for line in expected if "_bucket" in line or "_count" in line}
    assert counts <= {line.replace("{le", "{le") for line in pages[0]}


def test_a_bucket_shows_the_latest_traced_value_of_any_front() -> None:
    memory, clock = bytearray(count_bytes(3)), Clock(1000.0)
    tallies = [Tally(memory, number, clock=clock) for number in range(3)]
    largest = SpanName(2**128 - 1, 2**64 - 1)
    tallies[0].observe(TIME_TO_FIRST_TOKEN, 0.003, span=SpanName(1, 2))
    clock.now += 5
    tallies[2].observe(TIME_TO_FIRST_TOKEN, 0.004, span=largest)
    tallies[1].observe(TIME_TO_FIRST_TOKEN, 0.0045)
    tallies[1].observe(TIME_TO_FIRST_TOKEN, 9999, span=SpanName(3, 4))
    found = tallies[0].find_examples(TIME_TO_FIRST_TOKEN)
    assert [(at, one) for at, one in enumerate(found) if one is not None] == [
        (1, Example(largest, 0.004, 1005.0)),
        (len(TIME_TO_FIRST_TOKEN.buckets), Example(SpanName(3, 4), 9999.0, 1005.0)),
    ]
    assert not any(tallies[0].find_examples(INTER_TOKEN_LATENCY))


def test_a_bucket_has_a_new_example_once_a_second() -> None:
    clock = Clock(1000.0)
    tally = Tally(bytearray(count_bytes(1)), 0, clock=clock)
    for seconds_later in (0.0, 0.5, 0.9, 1.0):
        clock.now = 1000.0 + seconds_later
        tally.observe(INTER_TOKEN_LATENCY, 0.001, span=SpanName(1, int(10 * seconds_later) + 1))
        (example,) = [one for one in tally.find_examples(INTER_TOKEN_LATENCY) if one]
        assert example.span.span_id == (11 if seconds_later == 1.0 else 1)


def test_only_the_page_in_openmetrics_has_examples_and_it_is_whole() -> None:
    tally = Tally(bytearray(count_bytes(1)), 0, clock=Clock(1000.0))
    metrics = ServerMetrics(ModelLabels("m", "ns", "md"), lambda: None, tally)
    metrics.first_token(0.003, SpanName(10, 11))
    metrics.finished("stop", 0.5, SpanName(10, 11))
    tally.count_spans("exported", 3)
    page = metrics.render(in_openmetrics=True).decode()
    families = {family.name: family for family in parse_openmetrics(page)}
    for name in ("pagoda_server_time_to_first_token_seconds", "vllm:e2e_request_latency_seconds"):
        (exemplar,) = [sample.exemplar for sample in families[name].samples if sample.exemplar]
        assert exemplar.labels == {"trace_id": f"{10:032x}", "span_id": f"{11:016x}"}
    assert page.endswith("\n# EOF\n")
    assert " # {" not in metrics.render().decode()
    (spans,) = families["pagoda_server_spans"].samples
    assert (spans.labels["outcome"], spans.value) == ("exported", 3)


def test_a_front_that_is_started_anew_counts_on() -> None:
    memory = bytearray(count_bytes(2))
    Tally(memory, 1).count_finished("stop")
    Tally(memory, 1).count_finished("stop")
    Tally(memory, 0).count_finished("length")
    assert Tally(memory, 0).sum_finished() == {"stop": 2, "length": 1, "abort": 0, "error": 0}


def test_a_front_knows_whether_all_others_have_the_engine() -> None:
    memory = bytearray(count_bytes(2))
    first, second = Tally(memory, 0), Tally(memory, 1)
    assert Tally.build_single().others_have_engine
    first.set_engine()
    assert (first.others_have_engine, second.others_have_engine) == (False, True)


def test_who_has_fewer_connections_than_the_others_takes_the_next() -> None:
    memory = bytearray(count_bytes(3))
    tallies = [Tally(memory, number) for number in range(3)]
    assert all(tally.has_minimum_connections for tally in tallies)
    tallies[0].set_connections(2)
    tallies[1].set_connections(1)
    assert [tally.has_minimum_connections for tally in tallies] == [False, False, True]
