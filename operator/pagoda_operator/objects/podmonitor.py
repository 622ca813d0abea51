"""The PodMonitor, for clusters with the Prometheus operator. One page per pod: the gateway's figures and the server's.

The page needs no credentials. `honorLabels`: the series' own label `namespace` stays, and no copy of it appears.
"""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels

KIND = "monitoring.coreos.com/PodMonitor"


def build_podmonitor(mdep: ModelDeployment) -> Object | None:
    if not mdep.spec.monitoring.enabled:
        return None
    endpoint = {"port": "http", "path": "/metrics", "interval": "15s", "scrapeTimeout": "10s", "honorLabels": True}
    spec = {"selector": {"matchLabels": selector_labels(mdep)}, "podMetricsEndpoints": [endpoint]}
    metadata = build_metadata(mdep)
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata, "spec": spec}
