"""The JSON of custom.metrics.k8s.io, v1beta1 and v1beta2. Pure."""

from datetime import UTC, datetime

from pagoda_operator.kube import objects
from pagoda_operator.kube.objects import API_VERSION, KIND, PLURAL, Object

GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
"""The preferred one first."""
METRIC = "demand_tokens_per_second"
RESOURCE = f"{PLURAL}.{objects.GROUP}"


def build_group() -> Object:
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in VERSIONS]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": versions,
        "preferredVersion": versions[0],
    }


def build_group_list() -> Object:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [build_group()]}


def build_resource_list(version: str) -> Object:
    resource = {
        "name": f"{RESOURCE}/{METRIC}",
        "singularName": "",
        "namespaced": True,
        "kind": "MetricValueList",
        "verbs": ["get"],
    }
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{GROUP}/{version}",
        "resources": [resource],
    }


def build_metric_values(version: str, *, namespace: str, name: str, value: float, now: float) -> Object:
    item: Object = {
        "describedObject": {
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "apiVersion": API_VERSION,
        },
        "timestamp": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": quantity(value),
    }
    if version == "v1beta1":
        item |= {"metricName": METRIC, "selector": None}
    else:
        item["metric"] = {"name": METRIC, "selector": None}
    return {"kind": "MetricValueList", "apiVersion": f"{GROUP}/{version}", "metadata": {}, "items": [item]}


def quantity(value: float) -> str:
    """Returns a resource.Quantity, exact to a thousandth."""
    milli = round(value * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def build_status(code: int, reason: str, message: str) -> Object:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
