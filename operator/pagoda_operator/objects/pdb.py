"""The PodDisruptionBudget. With one replica it would only block the draining of nodes, so there is none."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata, selector_labels


def build_pdb(mdep: ModelDeployment, *, replicas: int) -> Object | None:
    if replicas < 2 or not mdep.spec.disruption_budget.enabled:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": build_metadata(mdep),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector_labels(mdep)},
        },
    }
