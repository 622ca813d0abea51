"""The PrometheusRule: the alerts that mean work for a person, on our own metrics alone.

NB: every replica of the operator shows the `pagoda_model_*` series, so they are joined by `max`, never by `sum`.
"""

from pagoda_operator.api import ModelDeployment
from pagoda_operator.kube.objects import Object
from pagoda_operator.objects.labels import build_metadata

KIND = "monitoring.coreos.com/PrometheusRule"
REFUSED_RATIO = 0.05
SLOW_FIRST_TOKEN_SECONDS = 10
BY = "by (namespace, model_deployment)"


def build_prometheusrule(mdep: ModelDeployment) -> Object | None:
    if not mdep.spec.monitoring.enabled:
        return None
    group = {"name": f"pagoda.{mdep.namespace}.{mdep.name}", "rules": _rules(mdep)}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": build_metadata(mdep, further_labels=mdep.spec.monitoring.labels),
        "spec": {"groups": [group]},
    }


def _rules(mdep: ModelDeployment) -> list[Object]:
    """Returns the alerts.

    A model that is meant to have no replica is not ready by intent; only an autoscaled one can fail to scale.
    """
    rules = [_refuses_requests(mdep), _overloaded(mdep), _slow_first_token(mdep)]
    if mdep.spec.fixed_replicas != 0:
        rules.insert(0, _not_ready(mdep))
    if mdep.spec.autoscaling is not None:
        rules.append(_not_scaling(mdep))
    if mdep.spec.auth is not None:
        rules.append(_keys_refused(mdep))
    return rules


def _select(mdep: ModelDeployment, more: str = "") -> str:
    return f'{{namespace="{mdep.namespace}",model_deployment="{mdep.name}"{more}}}'


def _model(mdep: ModelDeployment, name: str) -> str:
    return f"max {BY} (pagoda_model_{name}{_select(mdep)})"


def _alert(name: str, expr: str, minutes: int, severity: str, summary: str, description: str) -> Object:
    model = "{{ $labels.namespace }}/{{ $labels.model_deployment }}"
    return {
        "alert": name,
        "expr": expr,
        "for": f"{minutes}m",
        "labels": {"severity": severity},
        "annotations": {"summary": f"{model} {summary}", "description": description},
    }


def _not_ready(mdep: ModelDeployment) -> Object:
    return _alert(
        "PagodaModelNotReady",
        f"{_model(mdep, 'ready')} == 0",
        15,
        "critical",
        "has not been ready for 15 minutes",
        "No replica answers requests. The condition Ready gives the reason and the fix: "
        f"kubectl -n {mdep.namespace} describe modeldeployment {mdep.name}",
    )


def _refuses_requests(mdep: ModelDeployment) -> Object:
    refusals = _select(mdep, ',code=~"429|503"')
    refused = f"sum {BY} (rate(pagoda_gateway_requests_total{refusals}[5m]))"
    total = f"sum {BY} (rate(pagoda_gateway_requests_total{_select(mdep)}[5m]))"
    return _alert(
        "PagodaModelRefusesRequests",
        f"{refused} / {total} > {REFUSED_RATIO}",
        10,
        "warning",
        "refuses {{ $value | humanizePercentage }} of its requests",
        "Clients get 429 or 503. The label reason of pagoda_gateway_rejected_total says why: for queue_full add "
        "replicas or raise spec.autoscaling.maxReplicas; for upstream_unreachable read the server container's log.",
    )


def _overloaded(mdep: ModelDeployment) -> Object:
    demand, ready = _model(mdep, "demand_tokens_per_second"), _model(mdep, "ready_replicas")
    expr = f"{demand} > {_model(mdep, 'capacity_tokens_per_second')} * {ready}"
    if mdep.spec.autoscaling is not None:
        expr += f" unless {_model(mdep, 'hpa_desired_replicas')} < {_model(mdep, 'hpa_max_replicas')}"
    return _alert(
        "PagodaModelOverloaded",
        expr,
        15,
        "warning",
        "has a demand for more tokens per second than it can serve with all the replicas it may have",
        "The backlog does not shrink. Raise spec.autoscaling.maxReplicas or spec.replicas; if replicas are missing, "
        f"find out why: kubectl -n {mdep.namespace} describe modeldeployment {mdep.name}",
    )


def _slow_first_token(mdep: ModelDeployment) -> Object:
    buckets = f"pagoda_server_time_to_first_token_seconds_bucket{_select(mdep)}"
    p95 = f"histogram_quantile(0.95, sum by (namespace, model_deployment, le) (rate({buckets}[10m])))"
    return _alert(
        "PagodaModelSlowFirstToken",
        f"{p95} > {SLOW_FIRST_TOKEN_SECONDS}",
        15,
        "warning",
        "takes {{ $value | humanizeDuration }} to produce the first token (95th percentile)",
        "Requests wait in the engine, or their prompts are very long. Add replicas, or lower "
        "spec.autoscaling.targetUtilization so that the autoscaler adds them earlier.",
    )


def _not_scaling(mdep: ModelDeployment) -> Object:
    return _alert(
        "PagodaModelNotScaling",
        f"{_model(mdep, 'scaling_active')} == 0",
        15,
        "warning",
        "has not been able to scale for 15 minutes",
        "The HPA lacks its metric and keeps the current number of replicas. The condition Scaling says why: "
        f"kubectl -n {mdep.namespace} describe modeldeployment {mdep.name}; kubectl -n {mdep.namespace} describe hpa",
    )


def _keys_refused(mdep: ModelDeployment) -> Object:
    return _alert(
        "PagodaModelKeysRefused",
        f"max {BY} (pagoda_gateway_keys_refused{_select(mdep)}) > 0",
        5,
        "warning",
        "has API keys that are not accepted",
        "A key of the Secret is empty, shorter than 8 characters, not text or used by two tenants, or the Secret "
        "cannot be read. The gateway's log names the tenant: "
        f"kubectl -n {mdep.namespace} logs deployment/{mdep.name} -c gateway",
    )
