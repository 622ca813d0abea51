"""Alerts on what the replicas can carry: too much demand, their maximum, a full KV cache, an engine that stands."""

from collections.abc import Iterator

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.spec import Autoscaling
from pagoda_operator.objects.alerts.rule import BY_POD, Alert, read_model, select, sum_increase, sum_rate

HPA_TOLERANCE = 1.1
"""An HPA leaves a tenth more than its target as it is."""
FULL_RATIO = 0.95
PREEMPTED_RATIO = 0.1
MINIMUM_PREEMPTIONS = 10
PREEMPTIONS = "pagoda_server_preemptions_total"
FINISHED = "pagoda_server_request_success_total"


def find_capacity_alerts(mdep: ModelDeployment) -> Iterator[Alert]:
    """Yields the alerts on what the replicas can carry."""
    yield _overloaded(mdep)
    if mdep.spec.autoscaling is not None:
        yield _at_maximum(mdep, mdep.spec.autoscaling)
    yield _preempts(mdep)
    yield _kv_cache_full(mdep)
    yield _engine_stuck(mdep)


def _overloaded(mdep: ModelDeployment) -> Alert:
    demand, ready = read_model(mdep, "demand_tokens_per_second"), read_model(mdep, "ready_replicas")
    expr = f"{demand} > {read_model(mdep, 'capacity_tokens_per_second')} * {ready}"
    if mdep.spec.autoscaling is not None:
        expr += f" unless {read_model(mdep, 'hpa_desired_replicas')} < {read_model(mdep, 'hpa_max_replicas')}"
    return Alert(
        "PagodaModelOverloaded",
        expr,
        15,
        "warning",
        "has a demand of {{ $value | humanize }} tokens/s, more than it can serve with all the replicas it may have",
        "The backlog does not shrink. Raise spec.autoscaling.maxReplicas or spec.replicas; if replicas are missing, "
        f"find out why: kubectl -n {mdep.namespace} describe modeldeployment {mdep.name}",
    )


def _at_maximum(mdep: ModelDeployment, autoscaling: Autoscaling) -> Alert:
    target = str(autoscaling.tokens_per_second)
    if autoscaling.tokens_per_second is None:
        target = f"{autoscaling.target_utilization} * {read_model(mdep, 'capacity_tokens_per_second')}"
    demand, maximum = read_model(mdep, "demand_tokens_per_second"), read_model(mdep, "hpa_max_replicas")
    at_maximum = f"{read_model(mdep, 'hpa_desired_replicas')} >= {maximum}"
    return Alert(
        "PagodaModelAtMaximum",
        f"{demand} > {HPA_TOLERANCE} * {target} * {maximum} and {at_maximum}",
        15,
        "warning",
        "has its maximum of replicas, and a demand of {{ $value | humanize }} tokens/s that asks for more",
        "The autoscaler has nothing left to add: the replicas run above their target, and a further rise of demand "
        "makes requests wait. Raise spec.autoscaling.maxReplicas.",
    )


def _preempts(mdep: ModelDeployment) -> Alert:
    share = f"{sum_rate(mdep, PREEMPTIONS, '10m')} / {sum_rate(mdep, FINISHED, '10m')} > {PREEMPTED_RATIO}"
    return Alert(
        "PagodaModelPreempts",
        f"{share} and {sum_increase(mdep, PREEMPTIONS, '10m')} >= {MINIMUM_PREEMPTIONS}",
        15,
        "warning",
        "preempts {{ $value | humanize }} times for each request that finishes",
        "The KV cache is too small for what runs at once: requests lose their pages and are computed again. Lower "
        "spec.engine.maxNumSeqs, set spec.engine.kvCacheDtype to fp8, or add replicas.",
    )


def _kv_cache_full(mdep: ModelDeployment) -> Alert:
    full = f"max {BY_POD} (pagoda_server_kv_usage_ratio{select(mdep)}) > {FULL_RATIO}"
    return Alert(
        "PagodaModelKVCacheFull",
        f"{full} and max {BY_POD} (pagoda_server_requests_waiting{select(mdep)}) > 0",
        15,
        "warning",
        "has a KV cache that is {{ $value | humanizePercentage }} full, and requests wait",
        "Memory for keys and values, not compute, limits how many requests run in pod {{ $labels.pod }}. Set "
        "spec.engine.kvCacheDtype to fp8, lower spec.engine.maxModelLen, or add replicas.",
    )


def _engine_stuck(mdep: ModelDeployment) -> Alert:
    running, waiting = (f"pagoda_server_requests_{name}{select(mdep)}" for name in ("running", "waiting"))
    still = f"max {BY_POD} (increase(pagoda_server_steps_total{select(mdep)}[3m])) == 0"
    return Alert(
        "PagodaModelEngineStuck",
        f"max {BY_POD} ({running} + {waiting}) > 0 and {still}",
        2,
        "critical",
        "has an engine that has made no step for minutes, with {{ $value }} requests in it",
        "Nothing that pod {{ $labels.pod }} has accepted goes on. Keep its log, then replace it: "
        f"kubectl -n {mdep.namespace} logs {{{{ $labels.pod }}}} -c server; "
        f"kubectl -n {mdep.namespace} delete pod {{{{ $labels.pod }}}}",
    )
