"""The NetworkPolicy: port 8000 comes in; DNS and HTTPS go out, and only when the model is fetched from afar."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels
from pagoda_operator.objects.pod import PORT


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
    if not mdep.spec.model.uri.startswith("hf://"):
        return []
    dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
    return [{"ports": dns}, {"ports": [{"protocol": "TCP", "port": 443}]}]
