"""What Prometheus reads: our names, and vLLM's as aliases, from one table, so that existing dashboards work."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pagoda_guard import openmetrics
from pagoda_server.http.tally import (
    E2E_LATENCY,
    HISTOGRAMS,
    INTER_TOKEN_LATENCY,
    TIME_TO_FIRST_TOKEN,
    Example,
    SpanName,
    Tally,
)
from pagoda_server.wire import FinishReason, Stats


def _kv_usage(stats: Stats) -> float:
    used = stats.total_pages - stats.free_pages - stats.cached_pages
    return used / stats.total_pages if stats.total_pages else 0.0


@dataclass(frozen=True, slots=True)
class ModelLabels:
    """What every series says of itself: ours the deployment, vLLM's what vLLM's says."""

    model_name: str
    namespace: str = ""
    model_deployment: str = ""

    def name_series(self, names: str) -> list[tuple[str, dict[str, str]]]:
        """Returns full names with their labels, for `own` alone or for `own|alias`: the alias is vLLM's."""
        own, _, alias = names.partition("|")
        ours = {"namespace": self.namespace, "model_deployment": self.model_deployment, "model_name": self.model_name}
        series = [(f"pagoda_server_{own}", ours)]
        return [*series, (f"vllm:{alias}", {"model_name": self.model_name, "engine": "0"})] if alias else series


# own|vLLM's name, description, value
GAUGES: tuple[tuple[str, str, Callable[[Stats], float | None]], ...] = (
    ("tokens_per_second", "Prompt and answer tokens per second", lambda s: s.tokens_per_second),
    (
        "capacity_tokens_per_second",
        "Capacity in tokens per second, measured at start and then observed",
        lambda s: s.capacity_tokens_per_second,
    ),
    ("requests_running|num_requests_running", "Requests in the batch", lambda s: s.running),
    ("requests_waiting|num_requests_waiting", "Requests not yet in the batch", lambda s: s.waiting),
    (
        "backlog_tokens",
        "Prompt tokens not computed yet, and the expected answers of waiting requests",
        lambda s: s.backlog_tokens,
    ),
    ("kv_usage_ratio|kv_cache_usage_perc", "Share of the KV pages in use, 0 to 1", _kv_usage),
)
COUNTERS: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("prompt_tokens|prompt_tokens", "Prompt tokens of the requests that were started", lambda s: s.prompt_tokens),
    ("generation_tokens|generation_tokens", "Tokens of answers", lambda s: s.generation_tokens),
    (
        "prefix_cached_tokens|prefix_cache_hits",
        "Prompt tokens taken from the prefix cache",
        lambda s: s.cached_prompt_tokens,
    ),
    ("preemptions|num_preemptions", "Requests preempted to make room for others", lambda s: s.preemptions),
    ("steps", "Steps of the engine", lambda s: s.steps),
)


SPANS_TEXT = "Spans of traced requests: exported, failed when the collector did not take them, dropped for lack of room"


@dataclass(frozen=True)
class EngineCollector(Collector):
    """The engine's latest Stats, read when Prometheus asks."""

    labels: ModelLabels
    read_stats: Callable[[], Stats | None]

    def collect(self) -> Iterable[Metric]:
        stats = self.read_stats()
        if stats is None:
            return
        for names, text, read in GAUGES:
            value = read(stats)
            for name, labels in self.labels.name_series(names) if value is not None else ():
                gauge = GaugeMetricFamily(name, text, labels=list(labels))
                gauge.add_metric(list(labels.values()), value or 0.0)
                yield gauge
        for names, text, count in COUNTERS:
            for name, labels in self.labels.name_series(names):
                counter = CounterMetricFamily(name, text, labels=list(labels))
                counter.add_metric(list(labels.values()), count(stats))
                yield counter
        yield self._pages(stats)

    def _pages(self, stats: Stats) -> Metric:
        ((name, labels),) = self.labels.name_series("kv_pages")
        pages = GaugeMetricFamily(name, "Pages of the KV cache, by state", labels=[*labels, "state"])
        owned = stats.total_pages - stats.free_pages - stats.cached_pages
        for state, count in (("free", stats.free_pages), ("cached", stats.cached_pages), ("owned", owned)):
            pages.add_metric([*labels.values(), state], count)
        return pages


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
            for name, labels in self.labels.name_series(f"{histogram.name}|{histogram.name}"):
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
    """How long the engine took to start, as it says when it is there."""

    labels: ModelLabels
    read_seconds: Callable[[], Mapping[str, float]]

    def collect(self) -> Iterable[Metric]:
        ((name, labels),) = self.labels.name_series("start_seconds")
        start = GaugeMetricFamily(
            name, "Seconds that the engine's start took, by phase and in total", labels=[*labels, "phase"]
        )
        for phase, seconds in self.read_seconds().items():
            start.add_metric([*labels.values(), phase], seconds)
        yield start


class ServerMetrics:
    def __init__(
        self,
        labels: ModelLabels,
        read_stats: Callable[[], Stats | None],
        tally: Tally,
        read_start_seconds: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._tally = tally
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(labels, read_stats))
        self._registry.register(StartCollector(labels, read_start_seconds))
        self._registry.register(TallyCollector(labels, self._tally))

    def first_token(self, seconds: float, span: SpanName | None = None) -> None:
        self._tally.observe(TIME_TO_FIRST_TOKEN, seconds, span=span)

    def next_tokens(self, seconds: float, tokens: int, span: SpanName | None = None) -> None:
        """Counts so many tokens, each so long after the one before it."""
        self._tally.observe(INTER_TOKEN_LATENCY, seconds, tokens, span)

    def finished(self, reason: FinishReason, seconds: float, span: SpanName | None = None) -> None:
        self._tally.observe(E2E_LATENCY, seconds, span=span)
        self._tally.count_finished(reason)

    def render(self, *, in_openmetrics: bool = False) -> bytes:
        return openmetrics.render(self._registry, in_openmetrics=in_openmetrics)
