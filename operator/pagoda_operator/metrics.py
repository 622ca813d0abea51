"""What the operator tells Prometheus: of itself, and of each ModelDeployment until it is deleted."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

MODEL_LABELS = ("namespace", "model_deployment")
MODEL_GAUGES = {
    "ready": "1 while the Ready condition is True",
    "replicas": "Pods that exist",
    "ready_replicas": "Pods that are ready",
    "tokens_per_second": "Tokens served per second, all pods",
    "demand_tokens_per_second": "Tokens per second served, plus the backlog divided by its drain time, all pods",
    "capacity_tokens_per_second": "Tokens per second that one pod can serve",
    "queued_requests": "Requests that wait for a slot, all pods",
    "scaling_active": "1 while the Scaling condition is True; no series without autoscaling",
    "certificate_expiration_timestamp_seconds": "When the certificate shown for the host ends, where that is known",
    "hpa_min_replicas": "Minimum number of replicas of the HPA",
    "hpa_max_replicas": "Maximum number of replicas of the HPA",
    "hpa_current_replicas": "Replicas that the HPA last saw",
    "hpa_desired_replicas": "Replicas that the HPA last asked for",
}


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        ProcessCollector(registry=r)
        self.reconciles = Counter("pagoda_operator_reconciles", "Reconciles", ["result"], registry=r)
        self.reconcile_seconds = Histogram(
            "pagoda_operator_reconcile_duration_seconds",
            "Duration of a reconcile",
            registry=r,
            buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 15),
        )
        self.queue_depth = Gauge(
            "pagoda_operator_queue_depth", "ModelDeployments that are due for a reconcile", registry=r
        )
        self.queue_seconds = Histogram(
            "pagoda_operator_queue_latency_seconds",
            "Time from becoming due to being reconciled",
            registry=r,
            buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
        )
        self.errors = Counter("pagoda_operator_errors", "Errors that were logged and survived", registry=r)
        self.task_failures = Counter(
            "pagoda_operator_task_failures", "Tasks that ended with an exception", ["task"], registry=r
        )
        self.kind_readable = Gauge(
            "pagoda_operator_kind_readable", "1 while objects of this kind can be listed", ["kind"], registry=r
        )
        self.api_calls = Counter(
            "pagoda_operator_api_calls", "Calls to the API server", ["verb", "kind", "code"], registry=r
        )
        self.leader = Gauge("pagoda_operator_leader", "1 while this replica writes", registry=r)
        self.certificate_expiration = Gauge(
            "pagoda_operator_certificate_expiration_timestamp_seconds",
            "When a certificate that this replica serves ends",
            ["certificate"],
            registry=r,
        )
        self._models = {
            name: Gauge(f"pagoda_model_{name}", text, MODEL_LABELS, registry=r) for name, text in MODEL_GAUGES.items()
        }

        self._condition = Gauge(
            "pagoda_model_condition",
            "1 while the status of the condition `type` is True, else 0",
            (*MODEL_LABELS, "type", "reason"),
            registry=r,
        )
        self._reasons: dict[tuple[str, str], dict[str, str]] = {}
        """The reason that each condition's series has now, by model and type."""

    def set_conditions(self, namespace: str, name: str, conditions: Mapping[str, tuple[str, bool]]) -> None:
        """Sets one series for each type of condition, of its reason and whether it is True."""
        before = self._reasons.get((namespace, name), {})
        for kind, reason in before.items():
            if kind not in conditions or conditions[kind][0] != reason:
                self._condition.remove(namespace, name, kind, reason)
        for kind, (reason, is_true) in conditions.items():
            self._condition.labels(namespace, name, kind, reason).set(is_true)
        self._reasons[namespace, name] = {kind: reason for kind, (reason, _) in conditions.items()}

    def set_model(self, namespace: str, name: str, values: dict[str, float | None]) -> None:
        """Sets a model's series. A figure that is not known (None) has no series: it is never shown as 0."""
        for gauge, value in values.items():
            if value is None:
                self._remove(gauge, namespace, name)
            else:
                self._models[gauge].labels(namespace, name).set(value)

    def remove_model(self, namespace: str, name: str) -> None:
        for gauge in MODEL_GAUGES:
            self._remove(gauge, namespace, name)
        self.set_conditions(namespace, name, {})
        del self._reasons[namespace, name]

    def _remove(self, gauge: str, namespace: str, name: str) -> None:
        """Removes one series.

        NB: `remove_by_labels` would walk the series of every model.
        """
        self._models[gauge].remove(namespace, name)
