"""What every alert is made of: a model's series, and the words that reach a person."""

from dataclasses import dataclass, field
from typing import Literal

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.documents import build_runbook_url
from pagoda_operator.kube.objects import Object

BY = "by (namespace, model_deployment)"
BY_POD = "by (namespace, model_deployment, pod)"
Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Alert:
    name: str
    expr: str
    minutes: int
    """For so long the expression must hold before the alert fires."""
    severity: Severity
    summary: str
    """What follows the model's name; `{{ $value }}` is what the expression gives."""
    description: str
    labels: dict[str, str] = field(default_factory=dict)

    def build(self) -> Object:
        model = "{{ $labels.namespace }}/{{ $labels.model_deployment }}"
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.minutes}m",
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": f"{model} {self.summary}",
                "description": self.description,
                "runbook_url": build_runbook_url(self.name),
            },
        }


def select(mdep: ModelDeployment, more: str = "") -> str:
    """Returns the selector of a model's series; `more` are further matchers."""
    own = f'namespace="{mdep.namespace}",model_deployment="{mdep.name}"'
    return f"{{{own},{more}}}" if more else f"{{{own}}}"


def read_model(mdep: ModelDeployment, name: str) -> str:
    """Returns the query of a figure of the whole model.

    NB: every replica of the operator shows the `pagoda_model_*` series, so they are joined by `max`, never by `sum`.
    """
    return f"max {BY} (pagoda_model_{name}{select(mdep)})"


def sum_rate(mdep: ModelDeployment, name: str, window: str, more: str = "") -> str:
    """Returns the query of how often per second something was counted, by all pods together."""
    return f"sum {BY} (rate({name}{select(mdep, more)}[{window}]))"


def sum_increase(mdep: ModelDeployment, name: str, window: str, more: str = "") -> str:
    """Returns the query of how often something was counted, by all pods together."""
    return f"sum {BY} (increase({name}{select(mdep, more)}[{window}]))"
