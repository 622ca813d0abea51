from prometheus_client import generate_latest

from pagoda_operator.metrics import Metrics


def test_series_of_a_deleted_model_are_gone() -> None:
    metrics = Metrics()
    metrics.set_model("ns", "tiny", {"replicas": 2.0, "tokens_per_second": None})
    assert b'pagoda_model_replicas{model_deployment="tiny",namespace="ns"} 2.0' in generate_latest(metrics.registry)
    assert b"pagoda_model_tokens_per_second{" not in generate_latest(metrics.registry)
    metrics.remove_model("ns", "tiny")
    assert b'"tiny"' not in generate_latest(metrics.registry)
