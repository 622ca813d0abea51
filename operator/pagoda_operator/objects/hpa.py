"""The HorizontalPodAutoscaler: the demand in tokens per second, over what one replica is to carry.

Its target is the Deployment, so that the HPA alone writes replicas (docs/adr/0001)."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import API_VERSION, KIND, Object
from pagoda_operator.objects.labels import build_metadata

METRIC = "demand_tokens_per_second"
DEFAULT_BEHAVIOR: Object = {
    "scaleUp": {"stabilizationWindowSeconds": 0},
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}],
    },
}


def target_tokens_per_second(mdep: ModelDeployment, capacity: float | None) -> float | None:
    """Returns what one replica is to carry; None until its capacity is known."""
    scaling = mdep.spec.autoscaling
    if scaling is None:
        return None
    if scaling.tokens_per_second is not None:
        return scaling.tokens_per_second
    return scaling.target_utilization * capacity if capacity else None


def build_hpa(mdep: ModelDeployment, *, capacity: float | None) -> Object | None:
    scaling, target = mdep.spec.autoscaling, target_tokens_per_second(mdep, capacity)
    if scaling is None or target is None:
        return None
    spec: Object = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": mdep.name},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [_metric(mdep, target)],
        "behavior": scaling.behavior or DEFAULT_BEHAVIOR,
    }
    metadata = build_metadata(mdep)
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def _metric(mdep: ModelDeployment, target: float) -> Object:
    return {
        "type": "Object",
        "object": {
            "metric": {"name": METRIC},
            "describedObject": {"apiVersion": API_VERSION, "kind": KIND, "name": mdep.name},
            "target": {"type": "AverageValue", "averageValue": as_quantity(target)},
        },
    }


def as_quantity(value: float) -> str:
    """Returns whole numbers as they are, others in thousandths, as the API server writes quantities."""
    thousandths = max(1, round(value * 1000))
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)
