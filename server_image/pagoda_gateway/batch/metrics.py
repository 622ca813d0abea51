"""What is told of batches: their own figures, apart from those of live requests, with labels from fixed sets."""

from collections import Counter as Counts
from collections.abc import Callable

from prometheus_client import Counter, Gauge

from pagoda_gateway.batch.records import Status, Tokens
from pagoda_gateway.metrics import LABELS, Metrics

REQUESTS = ("completed", "failed")
ATTEMPTS = ("tried_again", "taken_back")
TOKENS = ("input", "cached", "output")
FILES = ("uploaded", "written", "deleted", "expired")
STATUSES: tuple[Status, ...] = ("validating", "in_progress", "finalizing", "cancelling")
ENDS: tuple[Status, ...] = ("completed", "failed", "expired", "cancelled")


class BatchMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests = self._counter("batch_requests", "Requests of batches that are over", "outcome", REQUESTS)
        self._attempts = self._counter(
            "batch_attempts",
            "Requests of batches asked again later: tried_again when the server could not answer, taken_back when live "
            "requests needed the room",
            "reason",
            ATTEMPTS,
        )
        self._tokens = self._counter("batch_tokens", "Tokens of batches, which are no demand", "kind", TOKENS)
        self._files = self._counter("batch_files", "Files for batches, by what happened to them", "event", FILES)
        self._ended = self._counter("batches_ended", "Batches that this gateway brought to their end", "status", ENDS)
        self.count_store_failure = metrics.counter(
            "batch_store_failures", "Reads and writes of the batches' store that failed", "operation"
        )

    def _counter(self, name: str, text: str, label: str, values: tuple[str, ...]) -> Counter:
        whole = Counter(f"pagoda_gateway_{name}", text, (*LABELS, label), registry=self._metrics.registry)
        for value in values:
            whole.labels(*self._metrics.label_values, value)
        return whole

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        self._metrics.gauge(name, text, read)

    def show_statuses(self, read: Callable[[], Counts[Status]]) -> None:
        whole = Gauge(
            "pagoda_gateway_batches",
            "Batches that this gateway runs, by status",
            (*LABELS, "status"),
            registry=self._metrics.registry,
        )

        def show(status: Status) -> None:
            whole.labels(*self._metrics.label_values, status).set_function(lambda: read()[status])

        for status in STATUSES:
            show(status)

    def count_request(self, outcome: str, tokens: Tokens) -> None:
        self._inc(self._requests, outcome)
        for kind in TOKENS:
            self._inc(self._tokens, kind, getattr(tokens, kind))

    def count_attempt(self, reason: str) -> None:
        self._inc(self._attempts, reason)

    def count_file(self, event: str) -> None:
        self._inc(self._files, event)

    def count_ended(self, status: Status) -> None:
        self._inc(self._ended, status)

    def _inc(self, counter: Counter, value: str, by: int = 1) -> None:
        counter.labels(*self._metrics.label_values, value).inc(by)
