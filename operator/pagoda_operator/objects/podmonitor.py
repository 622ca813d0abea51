"""The PodMonitor, for clusters with the Prometheus operator. One page per pod: the gateway's figures and the server's.

The page needs no credentials. `honorLabels`: the series' own label `namespace` stays, and no copy of it appears.
"""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels

KIND = "monitoring.coreos.com/PodMonitor"
SCRAPE_TIMEOUT_SECONDS = 10


def build_podmonitor(mdep: ModelDeployment) -> Object | None:
    wanted = mdep.spec.monitoring
    if not wanted.enabled:
        return None
    interval = wanted.interval or "15s"
    times = {"interval": interval, "scrapeTimeout": interval if _is_short(interval) else f"{SCRAPE_TIMEOUT_SECONDS}s"}
    endpoint = {"port": "http", "path": "/metrics", **times, "honorLabels": True}
    spec = {"selector": {"matchLabels": selector_labels(mdep)}, "podMetricsEndpoints": [endpoint]}
    metadata = build_metadata(mdep, further_labels=wanted.labels)
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata, "spec": spec}


def _is_short(interval: str) -> bool:
    """Returns whether the timeout would be longer than the interval, which Prometheus refuses."""
    return interval.endswith("s") and int(interval[:-1]) < SCRAPE_TIMEOUT_SECONDS
