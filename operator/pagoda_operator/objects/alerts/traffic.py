"""Alerts on what clients get: errors, refusals, a late first token. Shares of too few requests alarm nobody."""

from collections.abc import Iterator

from pagoda_operator.api import ModelDeployment
from pagoda_operator.objects.alerts.rule import Alert, select, sum_increase, sum_rate

FAILED_RATIO = 0.05
ENGINE_ERROR_RATIO = 0.01
REFUSED_RATIO = 0.05
SLOW_FIRST_TOKEN_SECONDS = 10
MINIMUM_COUNT = 10
"""So many requests must have come to harm within `COUNT_WINDOW`: one of two is half of them, and no pattern."""
COUNT_WINDOW = "15m"
REQUESTS = "pagoda_gateway_requests_total"
FINISHED = "pagoda_server_request_success_total"
FIRST_TOKENS = "pagoda_server_time_to_first_token_seconds"


def find_traffic_alerts(mdep: ModelDeployment) -> Iterator[Alert]:
    """Yields the alerts on what clients get; an objective for the first token takes the place of our own threshold."""
    yield _server_errors(mdep)
    yield _engine_errors(mdep)
    yield _refuses_requests(mdep)
    objectives = mdep.spec.monitoring.objectives
    if objectives is None or objectives.time_to_first_token_seconds is None:
        yield _slow_first_token(mdep)


def _share(mdep: ModelDeployment, name: str, harmed: str, ratio: float) -> str:
    """Returns the query of the share of what `harmed` selects, while it is above `ratio` and not of too few."""
    share = f"{sum_rate(mdep, name, '5m', harmed)} / {sum_rate(mdep, name, '5m')} > {ratio}"
    return f"{share} and {sum_increase(mdep, name, COUNT_WINDOW, harmed)} >= {MINIMUM_COUNT}"


def _server_errors(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelServerErrors",
        _share(mdep, REQUESTS, 'code=~"5..",code!="503"', FAILED_RATIO),
        5,
        "critical",
        "fails on {{ $value | humanizePercentage }} of its requests",
        "Clients get 500 or 502. The server's log has the reason: "
        f"kubectl -n {mdep.namespace} logs deployment/{mdep.name} -c server",
    )


def _engine_errors(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelEngineErrors",
        _share(mdep, FINISHED, 'finished_reason="error"', ENGINE_ERROR_RATIO),
        5,
        "warning",
        "has an engine that fails on {{ $value | humanizePercentage }} of its requests",
        "Clients get engine_error, in the middle of a stream too, where the status was 200 already. The server's log "
        f"has the traceback: kubectl -n {mdep.namespace} logs deployment/{mdep.name} -c server",
    )


def _refuses_requests(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelRefusesRequests",
        _share(mdep, REQUESTS, 'code=~"429|503"', REFUSED_RATIO),
        10,
        "warning",
        "refuses {{ $value | humanizePercentage }} of its requests",
        "Clients get 429 or 503. The label reason of pagoda_gateway_rejected_total says why: for queue_full add "
        "replicas or raise spec.autoscaling.maxReplicas; for upstream_unreachable read the server container's log.",
    )


def _slow_first_token(mdep: ModelDeployment) -> Alert:
    buckets = f"rate({FIRST_TOKENS}_bucket{select(mdep)}[10m])"
    p95 = f"histogram_quantile(0.95, sum by (namespace, model_deployment, le) ({buckets}))"
    enough = f"{sum_increase(mdep, f'{FIRST_TOKENS}_count', COUNT_WINDOW)} >= {MINIMUM_COUNT}"
    return Alert(
        "PagodaModelSlowFirstToken",
        f"{p95} > {SLOW_FIRST_TOKEN_SECONDS} and {enough}",
        15,
        "warning",
        "takes {{ $value | humanizeDuration }} to produce the first token (95th percentile)",
        "Requests wait in the engine, or their prompts are very long. Add replicas, or lower "
        "spec.autoscaling.targetUtilization so that the autoscaler adds them earlier.",
    )
