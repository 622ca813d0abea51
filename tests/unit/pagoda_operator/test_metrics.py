from typing import Any

from prometheus_client import generate_latest

from pagoda_operator.controller.reconcile import show_model
from pagoda_operator.metrics import Metrics
from pagoda_operator.plan.loads import Load

KEY = ("ns", "tiny")
HPA = {
    "kind": "HorizontalPodAutoscaler",
    "spec": {"minReplicas": 1, "maxReplicas": 4},
    "status": {"currentReplicas": 2, "desiredReplicas": 3},
}


def pod(name: str, *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"kind": "Pod", "metadata": {"name": name}, "status": {"conditions": conditions}}


def load(tokens_per_second: float, capacity: float | None) -> Load:
    return Load(
        tokens_per_second=tokens_per_second,
        demand_tokens_per_second=2 * tokens_per_second,
        capacity_tokens_per_second=capacity,
        capacity_source="measured",
        queued=5,
    )


def shown(children: list[dict[str, Any]], loads: dict[str, Load], **conditions: str) -> dict[str, float]:
    """The model's series by name, as a scrape would give them."""
    metrics = Metrics()
    told = [{"type": type_, "status": status, "reason": "Because"} for type_, status in conditions.items()]
    status = {"conditions": told}
    show_model(metrics, KEY, {"status": status}, children, loads)
    families = [family for family in metrics.registry.collect() if family.name.startswith("pagoda_model_")]
    samples = [sample for family in families for sample in family.samples]
    return {sample.name.removeprefix("pagoda_model_"): sample.value for sample in samples}


def test_series_of_a_deleted_model_are_gone() -> None:
    metrics = Metrics()
    metrics.set_model("ns", "tiny", {"replicas": 2.0, "tokens_per_second": None})
    assert b'pagoda_model_replicas{model_deployment="tiny",namespace="ns"} 2.0' in generate_latest(metrics.registry)
    assert b"pagoda_model_tokens_per_second{" not in generate_latest(metrics.registry)
    metrics.remove_model("ns", "tiny")
    assert b'"tiny"' not in generate_latest(metrics.registry)


def test_replicas_of_the_hpa_are_shown_and_none_without_one() -> None:
    with_hpa = shown([pod("a"), HPA], {}, Ready="True", Scaling="False")
    wanted = {"hpa_min_replicas": 1, "hpa_max_replicas": 4, "hpa_current_replicas": 2, "hpa_desired_replicas": 3}
    assert wanted.items() <= with_hpa.items() and with_hpa["scaling_active"] == 0
    without = shown([pod("a")], {}, Ready="True")
    assert not [name for name in without if name.startswith(("hpa_", "scaling_"))]


def test_an_hpa_that_was_never_synced_has_no_desired_replicas() -> None:
    series = shown([{**HPA, "status": {}}], {})
    assert "hpa_desired_replicas" not in series and series["hpa_max_replicas"] == 4


def test_sums_are_shown_only_when_every_ready_pod_has_told_its_load() -> None:
    pods = [pod("a"), pod("b"), pod("c", ready=False)]
    series = shown(pods, {"a": load(10, 90), "b": load(20, 100)})
    assert (series["tokens_per_second"], series["demand_tokens_per_second"], series["queued_requests"]) == (30, 60, 10)
    assert series["capacity_tokens_per_second"] == 95 and series["ready_replicas"] == 2
    assert "tokens_per_second" not in shown(pods, {"a": load(10, 90)})


def condition_series(metrics: Metrics) -> dict[tuple[str, str], float]:
    """The value by type and reason."""
    families = [family for family in metrics.registry.collect() if family.name == "pagoda_model_condition"]
    return {(s.labels["type"], s.labels["reason"]): s.value for family in families for s in family.samples}


def test_each_condition_has_one_series_with_the_reason_it_has_now() -> None:
    metrics = Metrics()
    serving = {"type": "Ready", "status": "True", "reason": "Serving"}
    missing = {"type": "Scaling", "status": "False", "reason": "MetricsMissing"}
    show_model(metrics, KEY, {"status": {"conditions": [serving, missing]}}, [], {})
    assert condition_series(metrics) == {("Ready", "Serving"): 1.0, ("Scaling", "MetricsMissing"): 0.0}
    crashing = {"type": "Ready", "status": "False", "reason": "CrashLooping"}
    show_model(metrics, KEY, {"status": {"conditions": [crashing]}}, [], {})
    assert condition_series(metrics) == {("Ready", "CrashLooping"): 0.0}
    metrics.remove_model(*KEY)
    assert condition_series(metrics) == {}


def test_the_end_of_a_certificate_is_shown_while_it_is_known() -> None:
    metrics = Metrics()
    name = b'pagoda_model_certificate_expiration_timestamp_seconds{model_deployment="tiny",namespace="ns"} 5.0'
    show_model(metrics, KEY, {}, [], {}, 5.0)
    assert name in generate_latest(metrics.registry)
    show_model(metrics, KEY, {}, [], {})
    assert b"certificate_expiration_timestamp_seconds{model" not in generate_latest(metrics.registry)
