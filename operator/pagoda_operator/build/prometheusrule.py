"""The PrometheusRule: the alerts that mean work for a person."""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.build.labels import Object, build_metadata

KIND = "monitoring.coreos.com/PrometheusRule"


def build_prometheusrule(mdep: ModelDeployment) -> Object | None:
    if not mdep.spec.monitoring.enabled:
        return None
    group = {"name": f"pagoda.{mdep.namespace}.{mdep.name}", "rules": [_not_ready(mdep)]}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": build_metadata(mdep),
        "spec": {"groups": [group]},
    }


def _not_ready(mdep: ModelDeployment) -> Object:
    selector = f'namespace="{mdep.namespace}",deployment="{mdep.name}"'
    return {
        "alert": "PagodaModelNotReady",
        "expr": f"kube_deployment_status_replicas_unavailable{{{selector}}} > 0",
        "for": "15m",
        "labels": {"severity": "warning"},
        "annotations": {"summary": f"{mdep.namespace}/{mdep.name} has had pods that are not ready for 15 minutes"},
    }
