"""Alerts on what the operator says of a model: not ready, stuck, crashing, not scaling, keys that let nobody in."""

from collections.abc import Iterator

from pagoda_operator.api import ModelDeployment
from pagoda_operator.api.reasons import Reason
from pagoda_operator.api.spec import Ingress
from pagoda_operator.objects.alerts.rule import BY, Alert, read_model, select

BY_REASON = "by (namespace, model_deployment, reason)"
CRASHING = f"{Reason.CRASH_LOOPING}|{Reason.OUT_OF_MEMORY}"
CERTIFICATE_DAYS = 7
NOT_STUCK = f"{CRASHING}|{Reason.PAUSED}"
"""Reasons to be stalled that have an alert of their own, or are somebody's intent."""


def find_state_alerts(mdep: ModelDeployment) -> Iterator[Alert]:
    """Yields the alerts on a model's state.

    A model that is meant to have no replica is not ready by intent; only an autoscaled one can fail to scale.
    """
    if mdep.spec.fixed_replicas != 0:
        yield _not_ready(mdep)
    yield _rollout_stuck(mdep)
    yield _crash_looping(mdep)
    if mdep.spec.autoscaling is not None:
        yield _not_scaling(mdep)
    if mdep.spec.auth is not None:
        yield _keys_refused(mdep)
    if mdep.spec.ingress is not None and mdep.spec.ingress.tls_secret_name is not None:
        yield _certificate_expires(mdep, mdep.spec.ingress)


def _describe(mdep: ModelDeployment) -> str:
    return f"kubectl -n {mdep.namespace} describe modeldeployment {mdep.name}"


def _condition(mdep: ModelDeployment, matchers: str) -> str:
    """Returns the query of a condition: 1 while it is True, else 0."""
    return f"max {BY_REASON} (pagoda_model_condition{select(mdep, matchers)})"


def _not_ready(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelNotReady",
        f"{read_model(mdep, 'ready')} == 0",
        15,
        "critical",
        "has not been ready for 15 minutes",
        f"No replica answers requests. The condition Ready gives the reason and the fix: {_describe(mdep)}",
    )


def _rollout_stuck(mdep: ModelDeployment) -> Alert:
    stalled = _condition(mdep, f'type="Stalled",reason!~"{NOT_STUCK}"')
    failing = _condition(mdep, f'type="Ready",reason="{Reason.ROLLOUT_FAILING}"')
    return Alert(
        "PagodaModelRolloutStuck",
        f"{stalled} == 1 or on (namespace, model_deployment) {failing} == 1",
        5,
        "warning",
        "does not get to the state that its spec asks for: {{ $labels.reason }}",
        "It goes no further by itself. Replicas that were ready serve on as they are. The conditions say what is wrong "
        f"and what to do: {_describe(mdep)}",
    )


def _crash_looping(mdep: ModelDeployment) -> Alert:
    pods_ready = _condition(mdep, f'type="PodsReady",reason=~"{CRASHING}"')
    return Alert(
        "PagodaModelCrashLooping",
        f"{pods_ready} == 0",
        5,
        "warning",
        "has a pod whose container keeps ending: {{ $labels.reason }}",
        "Replicas that were ready serve on. The condition PodsReady names the pod, the container and its last words: "
        f"{_describe(mdep)}",
    )


def _not_scaling(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelNotScaling",
        f"{read_model(mdep, 'scaling_active')} == 0",
        15,
        "warning",
        "has not been able to scale for 15 minutes",
        "The HPA lacks its metric and keeps the current number of replicas. The condition Scaling says why: "
        f"{_describe(mdep)}; kubectl -n {mdep.namespace} describe hpa",
    )


def _certificate_expires(mdep: ModelDeployment, ingress: Ingress) -> Alert:
    end = read_model(mdep, "certificate_expiration_timestamp_seconds")
    return Alert(
        "PagodaModelCertificateExpires",
        f"{end} - time() < {CERTIFICATE_DAYS} * 86400",
        60,
        "warning",
        "has a host whose certificate ends in {{ $value | humanizeDuration }}",
        f"After that clients refuse to connect to {ingress.host}. See why the Secret {ingress.tls_secret_name} is not "
        f"renewed; with cert-manager: kubectl -n {mdep.namespace} describe certificate",
    )


def _keys_refused(mdep: ModelDeployment) -> Alert:
    return Alert(
        "PagodaModelKeysRefused",
        f"max {BY} (pagoda_gateway_keys_refused{select(mdep)}) > 0",
        5,
        "warning",
        "has API keys that are not accepted",
        "A key of the Secret is empty, shorter than 8 characters, not text or used by two tenants, or the Secret "
        "cannot be read. The gateway's log names the tenant: "
        f"kubectl -n {mdep.namespace} logs deployment/{mdep.name} -c gateway",
    )
