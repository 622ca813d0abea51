"""What Prometheus reads: our names, and vLLM's as aliases, from one table, so that existing dashboards work."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pagoda_server.wire import Stats


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
        """Full names with their labels, of `own` alone or of `own|alias`: the alias is vLLM's."""
        own, _, alias = names.partition("|")
        ours = {"namespace": self.namespace, "model_deployment": self.model_deployment, "model_name": self.model_name}
        series = [(f"pagoda_server_{own}", ours)]
        return [*series, (f"vllm:{alias}", {"model_name": self.model_name, "engine": "0"})] if alias else series


# own|vLLM's name, description, value
GAUGES: tuple[tuple[str, str, Callable[[Stats], float | None]], ...] = (
    ("tokens_per_second", "Prompt and answer tokens a second", lambda s: s.tokens_per_second),
    (
        "capacity_tokens_per_second",
        "Measured, then observed capacity",
        lambda s: s.capacity_tokens_per_second,
    ),
    ("requests_running|num_requests_running", "Requests in the batch", lambda s: s.running),
    ("requests_waiting|num_requests_waiting", "Requests not yet in the batch", lambda s: s.waiting),
    ("backlog_tokens", "Tokens of the waiting requests", lambda s: s.backlog_tokens),
    ("kv_usage_ratio|kv_cache_usage_perc", "Share of the KV pages in use, 0 to 1", _kv_usage),
)
COUNTERS: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("prompt_tokens|prompt_tokens", "Prompt tokens", lambda s: s.prompt_tokens),
    ("generation_tokens|generation_tokens", "Answer tokens", lambda s: s.generation_tokens),
    ("prefix_cached_tokens|prefix_cache_hits", "Prompt tokens taken from the cache", lambda s: s.cached_prompt_tokens),
    ("preemptions|num_preemptions", "Requests put back to make room", lambda s: s.preemptions),
    ("steps", "Engine steps", lambda s: s.steps),
)
TTFT = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
ITL = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
)
E2E = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
HISTOGRAMS = (
    ("time_to_first_token_seconds", "From the request to its first token", TTFT),
    ("inter_token_latency_seconds", "Between two tokens of an answer", ITL),
    ("e2e_request_latency_seconds", "From the request to its last token", E2E),
)


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
        pages = GaugeMetricFamily(name, "KV pages by state", labels=[*labels, "state"])
        owned = stats.total_pages - stats.free_pages - stats.cached_pages
        for state, count in (("free", stats.free_pages), ("cached", stats.cached_pages), ("owned", owned)):
            pages.add_metric([*labels.values(), state], count)
        return pages


@dataclass(frozen=True)
class ServerMetrics:
    labels: ModelLabels
    read_stats: Callable[[], Stats | None]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    _histograms: dict[str, list[Histogram]] = field(default_factory=dict)
    _finished: list[tuple[Counter, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry.register(EngineCollector(self.labels, self.read_stats))
        for name, text, buckets in HISTOGRAMS:
            self._histograms[name] = [
                Histogram(full, text, list(labels), buckets=buckets, registry=self.registry).labels(**labels)
                for full, labels in self.labels.name_series(f"{name}|{name}")
            ]
        for full, labels in self.labels.name_series("request_success|request_success"):
            counter = Counter(full, "Finished requests", [*labels, "finished_reason"], registry=self.registry)
            self._finished.append((counter, labels))

    def first_token(self, seconds: float) -> None:
        self._observe("time_to_first_token_seconds", seconds)

    def next_tokens(self, seconds: float, tokens: int) -> None:
        """`tokens` of them came, each so long after the one before."""
        for _ in range(tokens):
            self._observe("inter_token_latency_seconds", seconds)

    def finished(self, reason: str, seconds: float) -> None:
        self._observe("e2e_request_latency_seconds", seconds)
        for counter, labels in self._finished:
            counter.labels(**labels, finished_reason=reason).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _observe(self, name: str, seconds: float) -> None:
        for histogram in self._histograms[name]:
            histogram.observe(seconds)
