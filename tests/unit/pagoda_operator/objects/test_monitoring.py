"""What the Prometheus operator is given: pages that exist, and alerts that a person can act on."""

from typing import Any

import pytest

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.pod import build_pod_template
from pagoda_operator.objects.podmonitor import build_podmonitor
from pagoda_operator.objects.prometheusrule import build_prometheusrule
from pagoda_operator.objects.settings import BuildSettings


def model(**spec: Any) -> ModelDeployment:
    spec = {"model": {"uri": "bundled://pagoda-tiny"}, **spec}
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    return ModelDeployment.model_validate({**raw, "spec": spec})


def alerts(**spec: Any) -> dict[str, Any]:
    rule = build_prometheusrule(model(**spec))
    assert rule is not None
    return {alert["alert"]: alert for group in rule["spec"]["groups"] for alert in group["rules"] if "alert" in alert}


def test_the_podmonitor_scrapes_a_port_that_the_pod_has_and_keeps_our_labels() -> None:
    monitor = build_podmonitor(model())
    assert monitor is not None
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    pod = build_pod_template(model(), BuildSettings("control:1", "server:1"))
    ports = [port["name"] for container in pod["spec"]["initContainers"] for port in container.get("ports", [])]
    assert endpoint["port"] in ports and endpoint["honorLabels"] is True
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


OBJECTIVES = {"timeToFirstTokenSeconds": 2, "interTokenLatencySeconds": 0.1, "availability": 0.99}


@pytest.mark.parametrize("spec", [{}, {"autoscaling": {"maxReplicas": 3}}, {"monitoring": {"objectives": OBJECTIVES}}])
def test_every_alert_is_of_this_model_and_says_what_is_wrong_and_what_to_do(spec: dict[str, Any]) -> None:
    for alert in alerts(**spec).values():
        assert alert["for"] and alert["labels"]["severity"] in ("warning", "critical")
        assert min(len(alert["annotations"][words]) for words in ("summary", "description")) > 20
        assert alert["expr"].count("{") == alert["expr"].count('{namespace="ns",model_deployment="m"')


def test_a_model_that_is_meant_to_have_no_replica_raises_no_alarm_for_it() -> None:
    assert "PagodaModelNotReady" in alerts(replicas=1)
    assert "PagodaModelNotReady" not in alerts(replicas=0)


def test_only_an_autoscaled_model_is_said_not_to_scale() -> None:
    assert "PagodaModelNotScaling" in alerts(autoscaling={"maxReplicas": 3})
    assert "PagodaModelNotScaling" not in alerts(replicas=2)


def test_monitoring_can_be_turned_off() -> None:
    off = model(monitoring={"enabled": False})
    assert build_podmonitor(off) is None and build_prometheusrule(off) is None


def test_labels_by_which_prometheus_selects_are_on_monitor_and_rule_beside_ours() -> None:
    labelled = model(monitoring={"labels": {"release": "kube-prometheus-stack"}})
    for build in (build_podmonitor, build_prometheusrule):
        bare, found = build(model()), build(labelled)
        assert bare is not None and found is not None
        wanted = {**bare["metadata"]["labels"], "release": "kube-prometheus-stack"}
        assert found["metadata"]["labels"] == wanted


@pytest.mark.parametrize(("interval", "timeout"), [(None, "10s"), ("5s", "5s"), ("10s", "10s"), ("2m", "10s")])
def test_a_scrape_takes_no_longer_than_its_interval(interval: str | None, timeout: str) -> None:
    monitor = build_podmonitor(model(monitoring={} if interval is None else {"interval": interval}))
    assert monitor is not None
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert (endpoint["interval"], endpoint["scrapeTimeout"]) == (interval or "15s", timeout)
