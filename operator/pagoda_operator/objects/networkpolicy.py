"""The NetworkPolicy: port 8000 comes in; DNS, HTTPS where the model is fetched from afar, and listed ports go out."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels
from pagoda_operator.objects.pod import PORT

HTTPS_PORT = 443


def build_networkpolicy(mdep: ModelDeployment) -> Object | None:
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
            "egress": _egress(mdep),
        },
    }


def _egress(mdep: ModelDeployment) -> list[Object]:
    downloads = [HTTPS_PORT] if mdep.spec.model.uri.startswith("hf://") else []
    ports = list(dict.fromkeys((*downloads, *(mdep.spec.network_policy.egress_ports or []))))
    if not ports:
        return []
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return [{"ports": dns}, {"ports": [{"protocol": "TCP", "port": port} for port in ports]}]
