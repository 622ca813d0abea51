"""The engine's figures for Prometheus: our names, and vLLM's as aliases, from one table."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from pagoda_server.histograms import ENGINE_HISTOGRAMS
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.wire import Stats


def _kv_usage(stats: Stats) -> float:
    used = stats.total_pages - stats.free_pages - stats.cached_pages
    return used / stats.total_pages if stats.total_pages else 0.0


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
    ("kv_usage_ratio|kv_cache_usage_perc|gpu_cache_usage_perc", "Share of the KV pages in use, 0 to 1", _kv_usage),
)
COUNTERS: tuple[tuple[str, str, Callable[[Stats], float]], ...] = (
    ("prompt_tokens|prompt_tokens", "Prompt tokens of the requests that were started", lambda s: s.prompt_tokens),
    ("generation_tokens|generation_tokens", "Tokens of answers", lambda s: s.generation_tokens),
    (
        "prefix_cached_tokens|prefix_cache_hits|gpu_prefix_cache_hits|prompt_tokens_cached",
        "Prompt tokens taken from the prefix cache",
        lambda s: s.cached_prompt_tokens,
    ),
    ("preemptions|num_preemptions", "Requests preempted to make room for others", lambda s: s.preemptions),
    (
        "recomputed_prompt_tokens|prompt_tokens_recomputed",
        "Prompt tokens that the prefix cache knew and that were computed again for the logits of the last one",
        lambda s: s.recomputed_prompt_tokens,
    ),
    (
        "corrupted_requests|corrupted_requests",
        "Requests that ended because their logits were not finite",
        lambda s: s.corrupted_requests,
    ),
    (
        "|prefix_cache_queries|gpu_prefix_cache_queries",
        "Prompt tokens looked up in the prefix cache",
        lambda s: s.prompt_tokens,
    ),
    ("steps", "Steps of the engine", lambda s: s.steps),
)
# vLLM's name, description, label, value by value of the label
GAUGES_BY: tuple[tuple[str, str, str, dict[str, Callable[[Stats], float]]], ...] = (
    (
        "num_requests_waiting_by_reason",
        "Requests not yet in the batch, by what they wait for: here always pages or a place in the batch",
        "reason",
        {"capacity": lambda s: s.waiting, "deferred": lambda _: 0},
    ),
    (
        "engine_sleep_state",
        "1 for the state that the engine is in: here it is always awake",
        "sleep_state",
        {"awake": lambda _: 1, "weights_offloaded": lambda _: 0, "discard_all": lambda _: 0},
    ),
)
COUNTERS_BY: tuple[tuple[str, str, str, dict[str, Callable[[Stats], float]]], ...] = (
    (
        "prompt_tokens_by_source",
        "Prompt tokens of the requests that were started, by where their keys and values came from",
        "source",
        {
            "local_compute": lambda s: s.prompt_tokens - s.cached_prompt_tokens,
            "local_cache_hit": lambda s: s.cached_prompt_tokens,
            "external_kv_transfer": lambda _: 0,
        },
    ),
    (
        "prompt_tokens_cached_by_source",
        "Prompt tokens taken from the prefix cache, by the memory that it is in",
        "source",
        {"device": lambda s: s.cached_prompt_tokens},
    ),
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
        yield from self._by_label(stats)
        yield from self._distributions(stats)

    def _by_label(self, stats: Stats) -> Iterable[Metric]:
        for family, table in ((GaugeMetricFamily, GAUGES_BY), (CounterMetricFamily, COUNTERS_BY)):
            for alias, text, label, reads in table:
                ((name, labels),) = self.labels.name_series(f"|{alias}")
                made = family(name, text, labels=[*labels, label])
                for value, read in reads.items():
                    made.add_metric([*labels.values(), value], read(stats))
                yield made

    def _distributions(self, stats: Stats) -> Iterable[Metric]:
        for histogram in ENGINE_HISTOGRAMS:
            if (found := stats.distributions.get(histogram.name)) is None:
                continue
            bounds = map(floatToGoString, (*histogram.bounds, math.inf))
            buckets = list(zip(bounds, accumulate(found.counts), strict=True))
            for name, labels in self.labels.name_series(f"{histogram.name}|{histogram.name}"):
                family = HistogramMetricFamily(name, histogram.text, labels=list(labels))
                family.add_metric(list(labels.values()), buckets, found.total)
                yield family

    def _pages(self, stats: Stats) -> Metric:
        ((name, labels),) = self.labels.name_series("kv_pages")
        pages = GaugeMetricFamily(name, "Pages of the KV cache, by state", labels=[*labels, "state"])
        owned = stats.total_pages - stats.free_pages - stats.cached_pages
        for state, count in (("free", stats.free_pages), ("cached", stats.cached_pages), ("owned", owned)):
            pages.add_metric([*labels.values(), state], count)
        return pages
