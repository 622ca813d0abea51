"""The metrics that vLLM's public Grafana boards query: each is on our page, or has no meaning here.

The boards are those of vLLM's `examples/observability` in August 2026: overview, instances, kv_cache, service_status,
performance_statistics, query_statistics, and the older grafana.json; beside them what vLLM's page of metrics lists,
under its older names too, which people's own boards still have.
"""

import re
from pathlib import Path

import pytest

from tests.contract.metrics.test_metrics import REFERENCE

ROOT = Path(__file__).parents[3]
HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "e2e_request_latency_seconds",
    "request_time_per_output_token_seconds",
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_inference_time_seconds",
    "time_per_output_token_seconds",
    "request_params_n",
    "request_params_max_tokens",
    "kv_block_lifetime_seconds",
    "kv_block_idle_before_evict_seconds",
    "kv_block_reuse_gap_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_max_num_generation_tokens",
    "request_prefill_kv_computed_tokens",
    "iteration_tokens_total",
)
QUERIED: dict[str, set[str]] = {
    **{f"vllm:{name}_{part}": set() for name in HISTOGRAMS for part in ("bucket", "sum", "count")},
    "vllm:request_success_total": {"finished_reason"},
    "vllm:prompt_tokens_total": set(),
    "vllm:prompt_tokens_by_source_total": {"source"},
    "vllm:prompt_tokens_cached_by_source_total": {"source"},
    "vllm:prompt_tokens_cached_total": set(),
    "vllm:prompt_tokens_recomputed_total": set(),
    "vllm:corrupted_requests_total": set(),
    "vllm:generation_tokens_total": set(),
    "vllm:num_requests_running": set(),
    "vllm:num_requests_waiting": set(),
    "vllm:num_requests_waiting_by_reason": {"reason"},
    "vllm:kv_cache_usage_perc": set(),
    "vllm:gpu_cache_usage_perc": set(),
    "vllm:gpu_prefix_cache_hits_total": set(),
    "vllm:gpu_prefix_cache_queries_total": set(),
    "vllm:num_preemptions_total": set(),
    "vllm:prefix_cache_hits_total": set(),
    "vllm:prefix_cache_queries_total": set(),
    "vllm:engine_sleep_state": {"sleep_state"},
    "vllm:cache_config_info": {"block_size", "cache_dtype", "enable_prefix_caching", "num_gpu_blocks"},
    "http_requests_total": {"handler", "method", "status"},
    "http_request_duration_seconds_sum": {"handler", "method"},
    "http_request_duration_seconds_count": {"handler", "method"},
    "process_start_time_seconds": set(),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
}
WITHOUT_MEANING = {
    "vllm:external_prefix_cache_*",
    "vllm:mm_cache_*",
    "vllm:kv_offload_*",
    "vllm:simple_kv_offload_*",
    "vllm:nixl_*",
    "vllm:num_requests_kv_fetch_by_stage",
    "vllm:spec_decode_*",
    "vllm:lora_requests_info",
    "vllm:sleep_mode_operation_duration_seconds",
    "vllm:rl_weight_update_operation_duration_seconds",
}


@pytest.mark.parametrize("name", QUERIED)
def test_a_pods_page_has_what_the_boards_query_with_the_labels_that_they_group_by(name: str) -> None:
    families = [one for part in ("Gateway", "Server") for one in REFERENCE["all_families"]()[part]]
    labels = [set(one.labels) for one in families if name in one.samples()]
    assert labels, f"{name}: no page of a pod shows it"
    of_vllm = {"model_name", "engine"} if name.startswith("vllm:") else set()
    assert all(QUERIED[name] | of_vllm <= found for found in labels)


def test_the_how_to_lists_what_has_no_meaning_here() -> None:
    told = (ROOT / "docs" / "how-to" / "monitoring.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(vllm:[\w*]+)`", told)) == WITHOUT_MEANING
