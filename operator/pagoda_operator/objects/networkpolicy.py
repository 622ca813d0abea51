"""The NetworkPolicy: port 8000 comes in; out go downloads, traces, files of batches, listed ports, and DNS."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.batch import find_bucket_port
from pagoda_operator.objects.gateway import PORT
from pagoda_operator.objects.labels import build_metadata, selector_labels
from pagoda_operator.objects.settings import BuildSettings
from pagoda_operator.objects.tracing import find_collector_port

HTTPS_PORT = 443


def build_networkpolicy(mdep: ModelDeployment, settings: BuildSettings) -> Object | None:
    if not mdep.spec.network_policy.enabled:
        return None
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": build_metadata(mdep),
        "spec": {
            "podSelector": {"matchLabels": selector_labels(mdep)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
            "egress": _egress(mdep, settings),
        },
    }


def _egress(mdep: ModelDeployment, settings: BuildSettings) -> list[Object]:
    """Returns the ports that pods may call. NB: a collector's is that of its pod, where a Service has another."""
    downloads = HTTPS_PORT if mdep.spec.model.uri.startswith("hf://") else None
    wanted = (
        downloads,
        *(mdep.spec.network_policy.egress_ports or []),
        find_collector_port(mdep, settings),
        find_bucket_port(mdep),
    )
    ports = list(dict.fromkeys(port for port in wanted if port is not None))
    if not ports:
        return []
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return [{"ports": dns}, {"ports": [{"protocol": "TCP", "port": port} for port in ports]}]
