"""All the rules that we hand out: those of a model with everything on, and those of the chart."""

from typing import Any

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.prometheusrule import build_prometheusrule
from tests.contract.helm.conftest import render_chart

Object = dict[str, Any]
OBJECTIVES = {"timeToFirstTokenSeconds": 2, "interTokenLatencySeconds": 0.1, "availability": 0.99}


def build_model_groups(objectives: Object | None = None, **more: Any) -> list[Object]:
    """The groups of a model with an autoscaler, keys and a host."""
    spec = {
        "model": {"uri": "bundled://pagoda-tiny"},
        "autoscaling": {"maxReplicas": 3},
        "auth": {"apiKeysSecretRef": {"name": "keys"}},
        "ingress": {"host": "llm.example.com", "tlsSecretName": "llm-tls"},
        "monitoring": {"objectives": objectives},
        **more,
    }
    raw = {"apiVersion": "pagoda.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "m", "namespace": "ns"}}
    rule = build_prometheusrule(ModelDeployment.model_validate({**raw, "spec": spec}))
    assert rule is not None
    groups: list[Object] = rule["spec"]["groups"]
    return groups


def build_chart_groups() -> list[Object]:
    objects = render_chart("prometheusRule.enabled=true")
    (rule,) = [found for found in objects if found["kind"] == "PrometheusRule"]
    groups: list[Object] = rule["spec"]["groups"]
    return groups


def build_all_rules() -> list[Object]:
    """Every rule once: what an objective takes the place of is there too."""
    groups = [*build_model_groups(), *build_model_groups(OBJECTIVES), *build_chart_groups()]
    rules = {(rule.get("alert") or rule["record"], rule["expr"]): rule for group in groups for rule in group["rules"]}
    return list(rules.values())
