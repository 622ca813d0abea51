"""What Prometheus reads of the model server: the engine's figures, and what its fronts counted."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pagoda_guard import openmetrics
from pagoda_server.http.engine_metrics import EngineCollector
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import (
    ASKED_CHOICES,
    ASKED_TOKENS,
    E2E_LATENCY,
    HISTOGRAMS,
    INTER_TOKEN_LATENCY,
    LONGEST_ANSWER,
    TIME_TO_FIRST_TOKEN,
    Example,
    SpanName,
    Tally,
)
from pagoda_server.wire import FinishReason, Hello, Stats

OLDER_NAMES = {INTER_TOKEN_LATENCY.name: "|time_per_output_token_seconds"}
"""What vLLM called a histogram before, as boards of that time do."""
SPANS_TEXT = "Spans of traced requests: exported, failed when the collector did not take them, dropped for lack of room"


@dataclass(frozen=True)
class TallyCollector(Collector):
    """What all fronts of this server counted, read when Prometheus asks."""

    labels: ModelLabels
    tally: Tally

    def collect(self) -> Iterable[Metric]:
        for histogram in HISTOGRAMS:
            counts, total = self.tally.sum_histogram(histogram)
            bounds = map(floatToGoString, (*histogram.buckets, math.inf))
            exemplars = map(_build_exemplar, self.tally.find_examples(histogram))
            parts = zip(bounds, counts, exemplars, strict=True)
            buckets = [(bound, count, one) if one else (bound, count) for bound, count, one in parts]
            older = OLDER_NAMES.get(histogram.name, "")
            for name, labels in self.labels.name_series(f"{histogram.name}|{histogram.name}{older}"):
                family = HistogramMetricFamily(name, histogram.text, labels=list(labels))
                family.add_metric(list(labels.values()), buckets, total)
                yield family
        for name, labels in self.labels.name_series("request_success|request_success"):
            finished = CounterMetricFamily(
                name, "Requests that finished, by reason", labels=[*labels, "finished_reason"]
            )
            for reason, count in self.tally.sum_finished().items():
                finished.add_metric([*labels.values(), reason], count)
            yield finished
        ((name, labels),) = self.labels.name_series("spans")
        spans = CounterMetricFamily(name, SPANS_TEXT, labels=[*labels, "outcome"])
        for outcome, count in self.tally.sum_spans().items():
            spans.add_metric([*labels.values(), outcome], count)
        yield spans


def _build_exemplar(example: Example | None) -> Exemplar | None:
    if example is None:
        return None
    ids = {"trace_id": f"{example.span.trace_id:032x}", "span_id": f"{example.span.span_id:016x}"}
    return Exemplar(ids, example.value, example.at)


@dataclass(frozen=True)
class StartCollector(Collector):
    """What the engine says of itself once it is there: when and how long it started, and what its cache is like."""

    labels: ModelLabels
    read_hello: Callable[[], Hello | None]
    read_stats: Callable[[], Stats | None]

    def collect(self) -> Iterable[Metric]:
        hello = self.read_hello()
        yield self._phases(hello)
        if hello is not None:
            yield self._started_at(hello)
            yield self._cache(hello)

    def _phases(self, hello: Hello | None) -> Metric:
        ((name, labels),) = self.labels.name_series("start_seconds")
        start = GaugeMetricFamily(
            name, "Seconds that the engine's start took, by phase and in total", labels=[*labels, "phase"]
        )
        for phase, seconds in (hello.start_seconds if hello else {}).items():
            start.add_metric([*labels.values(), phase], seconds)
        return start

    def _started_at(self, hello: Hello) -> Metric:
        ((name, labels),) = self.labels.name_series("start_time_seconds")
        started = GaugeMetricFamily(
            name, "When the engine's process started, in seconds since 1970", labels=list(labels)
        )
        started.add_metric(list(labels.values()), hello.started_at_seconds)
        return started

    def _cache(self, hello: Hello) -> Metric:
        ((name, labels),) = self.labels.name_series("|cache_config_info")
        labels |= {
            "block_size": str(hello.page_size),
            "cache_dtype": hello.kv_cache_dtype,
            "enable_prefix_caching": str(hello.prefix_caching),
            "num_gpu_blocks": "None" if (stats := self.read_stats()) is None else str(stats.total_pages),
        }
        info = GaugeMetricFamily(name, "1; the labels are the settings of the KV cache", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        return info


class ServerMetrics:
    def __init__(
        self,
        labels: ModelLabels,
        read_stats: Callable[[], Stats | None],
        tally: Tally,
        read_hello: Callable[[], Hello | None] = lambda: None,
    ) -> None:
        self._tally = tally
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(labels, read_stats))
        self._registry.register(StartCollector(labels, read_hello, read_stats))
        self._registry.register(TallyCollector(labels, self._tally))

    def asked(self, *, n: int, max_tokens: int) -> None:
        """Counts a request by what it asks for."""
        self._tally.observe(ASKED_CHOICES, n)
        self._tally.observe(ASKED_TOKENS, max_tokens)

    def first_token(self, seconds: float, span: SpanName | None = None) -> None:
        self._tally.observe(TIME_TO_FIRST_TOKEN, seconds, span=span)

    def next_tokens(self, seconds: float, tokens: int, span: SpanName | None = None) -> None:
        """Counts so many tokens, each so long after the one before it."""
        self._tally.observe(INTER_TOKEN_LATENCY, seconds, tokens, span)

    def finished(self, reason: FinishReason, seconds: float, span: SpanName | None = None) -> None:
        self._tally.observe(E2E_LATENCY, seconds, span=span)
        self._tally.count_finished(reason)

    def abandoned(self) -> None:
        """Counts an answer that nobody waits for any more. How long it took says nothing of the server."""
        self._tally.count_finished("abort")

    def longest_answer(self, tokens: int) -> None:
        self._tally.observe(LONGEST_ANSWER, tokens)

    def render(self, *, in_openmetrics: bool = False) -> bytes:
        return openmetrics.render(self._registry, in_openmetrics=in_openmetrics)
