"""The estimate of capacity: it agrees with what was measured over HTTP, and with itself."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagoda_cli.capacity.estimate import EstimateError, Workload, estimate
from pagoda_cli.capacity.figures import Replica, read_replicas

REPLICAS = read_replicas()
CHAT = Workload(users=10_000, requests_per_hour=20, prompt_tokens=1500, cached_share=0.5, answer_tokens=300)
ROOT = Path(__file__).parents[4]
RESULTS = json.loads((ROOT / "bench/results.json").read_text())["rows"]
CLOSED_LOOPS = [
    (row["model"], row["precision"], row["ours"])
    for row in RESULTS
    if row["work"] == "HTTP streams=256" and row["unit"] == "output tokens/s" and row["gpu"] == "NVIDIA H200"
]


@pytest.mark.parametrize(("model", "precision", "measured"), CLOSED_LOOPS)
def test_the_capacity_is_what_256_streams_got_over_http(model: str, precision: str, measured: float) -> None:
    """The loop was 512 tokens in and 256 out; nothing of it went into the figures."""
    load = Workload(users=1, requests_per_hour=1, prompt_tokens=512, cached_share=0.0, answer_tokens=256)
    found = estimate(REPLICAS[model, precision], load, utilization=0.7)
    assert 0.8 * measured < found.capacity_tokens_per_second * 256 / 768 < 1.05 * measured, "rather less than more"


def test_figures_and_page_are_as_generated() -> None:
    generate = runpy.run_path(str(ROOT / "docs/reference/generate_capacity.py"))
    rates = generate["read_rates"]()
    replicas = generate["build_replicas"](rates)
    assert generate["FIGURES"].read_text() == generate["write_figures"](replicas), "run generate_capacity.py"
    assert generate["TARGET"].read_text() == generate["build_page"](replicas, rates), "run generate_capacity.py"


def test_there_are_closed_loops_to_compare_with() -> None:
    assert len(CLOSED_LOOPS) >= 2


LOADS = st.builds(
    Workload,
    users=st.integers(1, 20_000_000),
    requests_per_hour=st.floats(0.01, 1000),
    prompt_tokens=st.integers(1, 100_000),
    cached_share=st.floats(0.0, 0.99),
    answer_tokens=st.integers(1, 10_000),
)


@given(load=LOADS, replica=st.sampled_from(list(REPLICAS.values())), utilization=st.floats(0.05, 0.95))
def test_the_replicas_are_enough_and_one_less_is_not(load: Workload, replica: Replica, utilization: float) -> None:
    found = estimate(replica, load, utilization=utilization)
    room = utilization * found.capacity_tokens_per_second
    assert found.demand_tokens_per_second <= found.replicas * room * (1 + 1e-9)
    assert found.replicas == 1 or found.demand_tokens_per_second > (found.replicas - 1) * room * (1 - 1e-9)
    assert 0 < found.gap_seconds < float("inf")


@given(load=LOADS, replica=st.sampled_from(list(REPLICAS.values())))
def test_the_streams_at_once_fit_into_the_replicas(load: Workload, replica: Replica) -> None:
    found = estimate(replica, load, utilization=0.7)
    places = min(256, replica.kv_tokens // (load.prompt_tokens + load.answer_tokens))
    assert found.streams <= found.replicas * places + 1


def test_more_users_cached_prompts_and_smaller_answers_go_the_right_way() -> None:
    replica = REPLICAS["llama-3.1-8b", "fp8"]

    def count(load: Workload) -> int:
        return estimate(replica, load, utilization=0.7).replicas

    many = replace(CHAT, users=1_000_000)
    assert count(many) > count(CHAT)
    assert count(replace(many, cached_share=0.9)) < count(many) < count(replace(many, answer_tokens=900))


def test_a_request_that_no_replica_holds_is_refused_with_the_fix() -> None:
    with pytest.raises(EstimateError, match="smaller --prompt-tokens"):
        estimate(REPLICAS["llama-3.1-8b", "bf16"], replace(CHAT, prompt_tokens=5_000_000), utilization=0.7)
