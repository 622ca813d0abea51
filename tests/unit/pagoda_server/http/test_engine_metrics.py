"""The engine's figures on the page, under our names and under vLLM's."""

from collections.abc import Iterator

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from pagoda_server.histograms import QUEUE_TIME, Observed
from pagoda_server.http.metrics import ServerMetrics
from pagoda_server.http.model_labels import ModelLabels
from pagoda_server.http.tally import Tally
from pagoda_server.wire import Hello, Stats
from tests.doubles.engine import STATS

LABELS = ModelLabels("m", "ns", "md")


def read(metrics: ServerMetrics, name: str) -> Iterator[tuple[dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics.render().decode()):
        yield from ((sample.labels, sample.value) for sample in family.samples if sample.name == name)


def test_a_distribution_of_the_engine_is_a_histogram_of_prometheus() -> None:
    observed = Observed()
    for seconds in (0.0005, 0.3, 0.3, 9000.0):
        observed.observe(QUEUE_TIME, seconds)
    stats = msgspec.structs.replace(STATS, distributions=observed.snapshot())
    metrics = ServerMetrics(LABELS, lambda: stats, Tally.build_single())
    for prefix in ("pagoda_server_", "vllm:"):
        buckets = {labels["le"]: count for labels, count in read(metrics, f"{prefix}request_queue_time_seconds_bucket")}
        assert (buckets["0.001"], buckets["0.25"], buckets["0.5"], buckets["+Inf"]) == (1, 1, 3, 4)
        assert [value for _, value in read(metrics, f"{prefix}request_queue_time_seconds_sum")] == [9000.6005]


def test_prompt_tokens_by_source_add_up_to_all_prompt_tokens() -> None:
    metrics = ServerMetrics(LABELS, lambda: STATS, Tally.build_single())
    by_source = {labels["source"]: value for labels, value in read(metrics, "vllm:prompt_tokens_by_source_total")}
    assert by_source == {"local_compute": 30, "local_cache_hit": 20, "external_kv_transfer": 0}
    assert sum(by_source.values()) == next(read(metrics, "vllm:prompt_tokens_total"))[1]
    assert next(read(metrics, "vllm:prefix_cache_queries_total"))[1] == STATS.prompt_tokens


def test_when_the_engine_started_is_shown_once_it_is_there() -> None:
    hello = Hello(256, 8, 199, [], "cpu", "float32", {}, 1_700_000_000.0, 16, "fp8")
    hellos: list[Hello | None] = [None]
    metrics = ServerMetrics(LABELS, lambda: None, Tally.build_single(), lambda: hellos[-1])
    assert not list(read(metrics, "pagoda_server_start_time_seconds"))
    hellos.append(hello)
    assert next(read(metrics, "pagoda_server_start_time_seconds"))[1] == 1_700_000_000
    labels, value = next(read(metrics, "vllm:cache_config_info"))
    settings = {"block_size": "16", "cache_dtype": "fp8", "enable_prefix_caching": "True"}
    assert value == 1 and settings.items() <= labels.items()


def test_older_names_of_vllm_show_the_same() -> None:
    metrics = ServerMetrics(LABELS, lambda: STATS, Tally.build_single())
    metrics.next_tokens(0.02, 3)
    pairs = {
        "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
        "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
        "vllm:prompt_tokens_cached_total": "vllm:prefix_cache_hits_total",
        "vllm:time_per_output_token_seconds_count": "vllm:inter_token_latency_seconds_count",
    }
    for older, newer in pairs.items():
        assert list(read(metrics, older)) == list(read(metrics, newer)) != []


def test_what_requests_ask_for_is_counted_as_it_is_sent() -> None:
    metrics = ServerMetrics(LABELS, lambda: None, Tally.build_single())
    metrics.asked(n=3, max_tokens=100)
    metrics.asked(n=1, max_tokens=7)
    assert next(read(metrics, "vllm:request_params_n_sum"))[1] == 4
    buckets = {labels["le"]: count for labels, count in read(metrics, "vllm:request_params_max_tokens_bucket")}
    assert (buckets["5.0"], buckets["10.0"], buckets["100.0"]) == (0, 1, 2)


def test_the_settings_of_the_cache_have_its_pages_once_the_engine_tells_them() -> None:
    hello = Hello(256, 8, 199, [], "cpu", "float32")
    told: list[Stats | None] = [None]
    metrics = ServerMetrics(LABELS, lambda: told[-1], Tally.build_single(), lambda: hello)
    assert next(read(metrics, "vllm:cache_config_info"))[0]["num_gpu_blocks"] == "None"
    told.append(STATS)
    assert next(read(metrics, "vllm:cache_config_info"))[0]["num_gpu_blocks"] == str(STATS.total_pages)
