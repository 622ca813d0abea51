"""Alerts on what cannot be seen: a pod without scrapes, a page without the server, a load that nobody can read."""

from collections.abc import Iterator

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.alerts.rule import BY, BY_POD, Alert, read_model, select


def find_scraping_alerts(mdep: ModelDeployment) -> Iterator[Alert]:
    """Yields the alerts on figures that are missing."""
    yield _pods_not_scraped(mdep)
    yield _server_metrics_missing(mdep)
    yield _load_unknown(mdep)


def _pods_not_scraped(mdep: ModelDeployment) -> Alert:
    ready = read_model(mdep, "ready_replicas")
    scraped = f"count {BY} (pagoda_gateway_server_up{select(mdep)})"
    return Alert(
        "PagodaModelPodsNotScraped",
        f"{ready} - ({scraped} or {ready} * 0) > 0",
        10,
        "warning",
        "has {{ $value }} ready pods that Prometheus does not scrape",
        "Their figures are missing in dashboards, and alerts are blind to them. Prometheus does not select the "
        "PodMonitor, or cannot reach port 8000 of the pods: look at its page Status / Target health.",
    )


def _server_metrics_missing(mdep: ModelDeployment) -> Alert:
    all_ready = f"{read_model(mdep, 'ready_replicas')} >= {read_model(mdep, 'replicas')}"
    return Alert(
        "PagodaModelServerMetricsMissing",
        f"min {BY_POD} (pagoda_gateway_server_up{select(mdep)}) == 0 "
        f"and on (namespace, model_deployment) ({all_ready})",
        10,
        "warning",
        "is ready, but a pod shows no metrics of its model server",
        "The gateway of pod {{ $labels.pod }} gets no page from the server beside it. Read the server's log: "
        f"kubectl -n {mdep.namespace} logs {{{{ $labels.pod }}}} -c server",
    )


def _load_unknown(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelLoadUnknown",
        f"{read_model(mdep, 'ready_replicas')} > 0 unless {read_model(mdep, 'demand_tokens_per_second')}",
        10,
        "warning",
        "has ready pods whose load the operator does not know",
        "The operator reads /load at port 8000 of every ready pod and gets no answer from one of them, so demand and "
        "capacity are not known and an autoscaler is blind. Its log names the pod; look for a NetworkPolicy between.",
    )
