"""What the gateway tells Prometheus. Its own registry, so that two gateways in one process stay apart.

Gauges are read from the queue when scraped; they must never be a second copy that can drift.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from pagoda_gateway.paths import name_route
from pagoda_guard import openmetrics
from pagoda_guard.collector import Outcome

LABELS = ("namespace", "model_deployment", "model_name")
WAIT_BUCKETS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
KNOWN_METHODS = frozenset({"GET", "POST", "DELETE"})
"""What is none of these has the label "other": a client must not be able to make series."""
FIRST_BYTE_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
FIRST_TOKEN_BUCKETS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300)
"""NB: an objective's time must be one of them, so none may go."""
CODES = (200, 429, 500, 502, 503)
"""Shown from the start: a counter that appears with its first count has not risen, as Prometheus sees it."""
REJECTIONS = (
    *("queue_full", "queue_tokens_full", "queue_share", "wait_exceeded", "draining"),
    *("unauthorized", "keys_unavailable", "upstream_unreachable", "upstream_broken"),
)
"""Shown from the start, as `CODES` are: why a client of good will is refused."""


class Metrics:
    def __init__(self, *, namespace: str, model_deployment: str, model_name: str) -> None:
        self.registry = CollectorRegistry()
        self.label_values = (namespace, model_deployment, model_name)
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "pagoda_gateway_requests",
            "Requests answered, by status (499: client left)",
            (*LABELS, "code"),
            registry=self.registry,
        )
        for code in CODES:
            self._requests.labels(*self.label_values, str(code))
        # NB: the names and labels by which boards made for vLLM know the HTTP side of a server
        self._http_requests = Counter(
            "http_requests",
            "Requests answered, by path, method and class of status",
            (*LABELS, "handler", "method", "status"),
            registry=self.registry,
        )
        self._http_seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request to the end of its answer, its wait in the queue included",
            (*LABELS, "handler", "method"),
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._rejected = Counter(
            "pagoda_gateway_rejected",
            "Requests refused by the gateway, by reason",
            (*LABELS, "reason"),
            registry=self.registry,
        )
        for reason in REJECTIONS:
            self._rejected.labels(*self.label_values, reason)
        self._task_failures = Counter(
            "pagoda_gateway_task_failures",
            "Tasks of the gateway that ended with an error",
            (*LABELS, "task"),
            registry=self.registry,
        )
        self._checks = Counter(
            "pagoda_gateway_checks",
            "Requests judged by the server before their turn: refused, weighed, or unknown when it did not say",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._spans = Counter(
            "pagoda_gateway_spans",
            "Spans of traced requests: exported, failed when the collector did not take them, dropped for lack of room",
            (*LABELS, "outcome"),
            registry=self.registry,
        )
        self._keys_refused = Gauge(
            "pagoda_gateway_keys_refused",
            "API keys that are not accepted, by reason",
            (*LABELS, "reason"),
            registry=self.registry,
        )
        up = Gauge(
            "pagoda_gateway_server_up",
            "1 while the server's own metrics are included",
            LABELS,
            registry=self.registry,
        )
        self.server_up = up.labels(*self.label_values)
        self.queue_wait_seconds = self._histogram(
            "queue_wait_seconds", "Seconds that a request waited for its turn", WAIT_BUCKETS
        )
        self._time_to_first_byte_seconds = self._histogram(
            "time_to_first_byte_seconds",
            "Seconds from a request to the first byte of its answer's body",
            FIRST_BYTE_BUCKETS,
        )
        self._time_to_first_token_seconds = self._histogram(
            "time_to_first_token_seconds",
            "Seconds from a request to the first token of its streaming answer, its wait for a turn included",
            FIRST_TOKEN_BUCKETS,
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        whole = Histogram(f"pagoda_gateway_{name}", text, LABELS, buckets=buckets, registry=self.registry)
        return whole.labels(*self.label_values)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        whole = Gauge(f"pagoda_gateway_{name}", text, LABELS, registry=self.registry)
        whole.labels(*self.label_values).set_function(read)

    def counter(self, name: str, text: str, label: str) -> Callable[[str], None]:
        """Returns a function that counts one more of a value of `label`."""
        whole = Counter(f"pagoda_gateway_{name}", text, (*LABELS, label), registry=self.registry)
        return lambda value: whole.labels(*self.label_values, value).inc()

    def observe_first_byte(self, seconds: float, exemplar: dict[str, str] | None, *, is_stream: bool) -> None:
        """Notes how long a client waited. The server sends a stream's first event with its first token."""
        self._time_to_first_byte_seconds.observe(seconds, exemplar)
        if is_stream:
            self._time_to_first_token_seconds.observe(seconds, exemplar)

    def count_request(self, code: int, *, method: str, path: str, seconds: float) -> None:
        self._requests.labels(*self.label_values, str(code)).inc()
        handler = name_route(path)
        verb = method if method in KNOWN_METHODS else "other"
        self._http_requests.labels(*self.label_values, handler, verb, f"{code // 100}xx").inc()
        self._http_seconds.labels(*self.label_values, handler, verb).observe(seconds)

    def count_rejected(self, reason: str) -> None:
        self._rejected.labels(*self.label_values, reason).inc()

    def count_task_failure(self, task: str) -> None:
        self._task_failures.labels(*self.label_values, task).inc()

    def count_check(self, outcome: str) -> None:
        self._checks.labels(*self.label_values, outcome).inc()

    def count_spans(self, outcome: Outcome, count: int) -> None:
        self._spans.labels(*self.label_values, outcome).inc(count)

    def set_keys_refused(self, reason: str, count: int) -> None:
        self._keys_refused.labels(*self.label_values, reason).set(count)

    def render(self, *, server_document: bytes | None = None, in_openmetrics: bool = False) -> bytes:
        """Returns one document for the whole pod: our figures, then the server's as they came.

        Their names never meet. NB: the server's must be in the same format, whose end is the end of both.
        """
        self.server_up.set(server_document is not None)
        own = openmetrics.render(self.registry, in_openmetrics=in_openmetrics)
        return own if server_document is None else own.removesuffix(openmetrics.END) + server_document
