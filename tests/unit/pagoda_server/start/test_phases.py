"""Where the time of a start went, as the engine tells it and the metrics show it."""

from prometheus_client.parser import text_string_to_metric_families

from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import Tally
from pagoda_server.start.phases import Phases, read_process_age_seconds
from pagoda_server.wire import Hello
from tests.doubles.clock import Clock


def test_the_total_counts_what_no_phase_does() -> None:
    clock = Clock(100.0)
    phases = Phases(clock, begun_seconds_ago=3.0)
    with phases.time("load_weights"):
        clock.now += 2.0
    clock.now += 0.5
    phases.end()
    assert phases.seconds == {"load_code": 3.0, "load_weights": 2.0, "total": 5.5}


def test_a_process_knows_its_age() -> None:
    first = read_process_age_seconds()
    assert 0.0 < first <= read_process_age_seconds() < 86_400


def read_phases(page: str) -> dict[str, float]:
    families = [one for one in text_string_to_metric_families(page) if one.name == "pagoda_server_start_seconds"]
    return {sample.labels["phase"]: sample.value for family in families for sample in family.samples}


def test_the_page_shows_each_phase_once_the_engine_is_there() -> None:
    seconds = {"load_weights": 2.0, "total": 5.5}
    hellos: list[Hello | None] = [None]
    metrics = ServerMetrics(ModelLabels("m", "ns", "d"), lambda: None, Tally.build_single(), lambda: hellos[-1])
    assert read_phases(metrics.render().decode()) == {}
    hellos.append(Hello(256, 8, 199, [], "cpu", "float32", seconds))
    page = metrics.render().decode()
    assert read_phases(page) == seconds
    (family,) = (one for one in text_string_to_metric_families(page) if one.name == "pagoda_server_start_seconds")
    assert {"namespace": "ns", "model_deployment": "d", "model_name": "m", "phase": "total"} in [
        sample.labels for sample in family.samples
    ]
