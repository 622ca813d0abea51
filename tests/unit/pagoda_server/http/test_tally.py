"""Counts of several fronts, as Prometheus reads them."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import INTER_TOKEN_LATENCY, Tally, count_bytes

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
