"""What a start took, as it is recorded."""

from bench.serving.start import Start, read_phases
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import Tally
from pagoda_server.wire import Hello


def test_phases_are_read_off_the_servers_metrics() -> None:
    phases = {"load_weights": 2.0, "total": 5.5}
    hello = Hello(256, 8, 199, [], "cpu", "float32", phases)
    metrics = ServerMetrics(ModelLabels("m", "ns", "d"), lambda: None, Tally.build_single(), lambda: hello)
    assert read_phases(metrics.render().decode()) == phases


def test_a_start_is_recorded_with_its_phases() -> None:
    start = Start(ready_seconds=4.0, first_token_seconds=4.1, phases={"load_weights": 2.0})
    assert start.list_figures() == {
        "start to ready": 4.0,
        "start to first token": 4.1,
        "start phase load_weights": 2.0,
    }
