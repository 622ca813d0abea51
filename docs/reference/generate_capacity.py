"""Writes docs/reference/capacity.md, and the figures of `pagoda capacity`, from the benchmarks' results.

`python docs/reference/generate_capacity.py`; a test fails when the files are not what this writes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from bench.work.shapes import SHAPES, Precision, count_kv_bytes, count_weight_bytes
from pagoda_cli.capacity.estimate import Estimate, Workload, estimate
from pagoda_cli.capacity.figures import Replica
from pagoda_server.start.common_shapes import COMMON_SHAPES, Shape

ROOT = Path(__file__).parents[2]
TARGET = Path(__file__).parent / "capacity.md"
FIGURES = ROOT / "operator/pagoda_cli/capacity/figures.json"
GPU = "NVIDIA H200"
MEMORY_FRACTION = 0.9
ACTIVATION_BYTES = 2 * 10**9
"""About what a step of 8,192 tokens needs beside weights and KV cache."""
MEMORY_GIB = {"L4, 24 GB": 22.5, "A100, 40 GB": 39.5, "L40S, 48 GB": 44.7, "A100, H100, 80 GB": 79.2, "H200": 139.8}
"""What the driver shows of a GPU's memory."""
NO_FP8 = "A100, 40 GB"
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp8")
W1_TOKENS, W1_16_ANSWER_TOKENS, W1_PROMPTS = 142_827, 8_263, 256
LONG_PROMPT_TOKENS = 8_191
USERS = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CHAT = Workload(users=1_000, requests_per_hour=20, prompt_tokens=1_500, cached_share=0.5, answer_tokens=300)
UTILIZATION = 0.7

Rates = Mapping[str, float]
"""Tokens per second by the name of the work."""

HEAD = """# Which model fits, and how fast it is

Written by `docs/reference/generate_capacity.py` from [the benchmarks](../../bench/RESULTS.md); do not edit. How to
use it: [plan capacity](../how-to/capacity-planning.md).
"""


def read_rates() -> dict[tuple[str, str], dict[str, float]]:
    rates: dict[tuple[str, str], dict[str, float]] = {}
    for row in json.loads((ROOT / "bench/results.json").read_text())["rows"]:
        if row["gpu"] == GPU and row["ours"] is not None and row["unit"].endswith("tokens/s"):
            rates.setdefault((row["model"], row["precision"]), {})[row["work"]] = row["ours"]
    return rates


def build_replica(model: str, precision: Precision, rates: Rates) -> Replica:
    """Returns the lines through the measured steps: decode of 1 and 256 sequences, and of short and long contexts."""
    alone, full, short, long = (
        batch / rates[f"decode B={batch} ctx={context}"]
        for batch, context in ((1, 1024), (256, 1024), (32, 1024), (32, 7000))
    )
    context_token_seconds = (long - short) / (32 * (7000 - 1024))
    sequence_seconds = max(0.0, (full - alone) / 255 - 1024 * context_token_seconds)
    base_seconds = alone - sequence_seconds - 1024 * context_token_seconds
    steps = W1_16_ANSWER_TOKENS / W1_PROMPTS
    answers = W1_PROMPTS * (sequence_seconds + W1_TOKENS / W1_PROMPTS * context_token_seconds)
    prompt_token_seconds = (W1_16_ANSWER_TOKENS / rates["W1/16"] - steps * (base_seconds + answers)) / W1_TOKENS
    pair_seconds = 0.0
    if "prefill 32x8192" in rates:
        pair_seconds = max(0.0, 1 / rates["prefill 32x8192"] - prompt_token_seconds) / (LONG_PROMPT_TOKENS / 2)
    return Replica(
        model=model,
        precision=precision,
        gpu=GPU,
        base_seconds=round(base_seconds, 6),
        sequence_seconds=round(sequence_seconds, 9),
        context_token_seconds=round(context_token_seconds, 12),
        prompt_token_seconds=round(prompt_token_seconds, 9),
        prompt_pair_seconds=round(pair_seconds, 14),
        kv_tokens=count_kv_tokens(SHAPES[model], precision, MEMORY_GIB["H200"]),
    )


def build_replicas(rates: Mapping[tuple[str, str], Rates]) -> list[Replica]:
    keys = [(model, precision) for model in SHAPES for precision in PRECISIONS if (model, precision) in rates]
    return [build_replica(model, precision, rates[model, precision]) for model, precision in keys]


def write_figures(replicas: list[Replica]) -> str:
    return json.dumps([asdict(replica) for replica in replicas], indent=1) + "\n"


def count_kv_tokens(shape: Shape, precision: Precision, memory_gib: float) -> int:
    """Returns the tokens that fit beside the weights, in hundreds; 0 or less: the model does not fit."""
    embedding_bytes = 0 if shape.tied else 2 * shape.vocab_size * shape.hidden_size
    free_bytes = memory_gib * 2**30 * MEMORY_FRACTION - ACTIVATION_BYTES - embedding_bytes
    free_bytes -= count_weight_bytes(shape, precision)
    return int(free_bytes / count_kv_bytes(shape, precision)) // 100 * 100


def build_memory_table(precision: Precision) -> list[str]:
    gpus = {name: gib for name, gib in MEMORY_GIB.items() if precision != "fp8" or name != NO_FP8}
    head = ["model", "weights", *gpus]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for name, shape in COMMON_SHAPES.items():
        if name != "pagoda-tiny":
            tokens = [count_kv_tokens(shape, precision, gib) for gib in gpus.values()]
            weights = f"{count_weight_bytes(shape, precision) / 1e9:.1f} GB"
            rows.append([name, weights, *(f"{count / 1000:,.0f} k" if count >= 1000 else "–" for count in tokens)])
    return _write_table(rows)


def build_rate_table(replicas: list[Replica], rates: Mapping[tuple[str, str], Rates]) -> list[str]:
    works = {"one stream": "decode B=1 ctx=1024", "32": "decode B=32 ctx=1024", "256": "decode B=256 ctx=1024"}
    rows = [["model", "precision", *works, "prompts", "chat, both"], ["---", "---", *["---:"] * (len(works) + 2)]]
    for replica in replicas:
        measured = rates[replica.model, replica.precision]
        chat = _estimate_chat(replica, 1_000).capacity_tokens_per_second
        figures = [*(measured[work] for work in works.values()), 1 / replica.prompt_token_seconds, chat]
        rows.append([replica.model, replica.precision, *(f"{figure:,.0f}" for figure in figures)])
    return _write_table(rows)


def build_user_table(replicas: list[Replica]) -> list[str]:
    chosen = [r for r in replicas if r.precision == "fp8" or r.model in ("qwen3-0.6b", "llama-3.2-1b")]
    rows = [["active users", *(f"{r.model}, {r.precision}" for r in chosen)], ["---:", *["---:"] * len(chosen)]]
    rows += [[f"{users:,}", *(f"{_estimate_chat(r, users).replicas:,}" for r in chosen)] for users in USERS]
    return _write_table(rows)


def _estimate_chat(replica: Replica, users: int) -> Estimate:
    return estimate(replica, replace(CHAT, users=users), utilization=UTILIZATION)


def _write_table(rows: list[list[str]]) -> list[str]:
    return [*(f"| {' | '.join(row)} |" for row in rows), ""]


def build_page(replicas: list[Replica], rates: Mapping[tuple[str, str], Rates]) -> str:
    return "\n".join(_build_lines(replicas, rates))


def _build_lines(replicas: list[Replica], rates: Mapping[tuple[str, str], Rates]) -> Iterator[str]:
    yield HEAD
    yield "## What fits\n"
    yield (
        "Tokens that the KV cache holds beside the weights, by the model's shape: all running requests share them, "
        "each with its prompt and its answer. "
        f"Computed for {MEMORY_FRACTION:.0%} of the GPU's memory; `–`: it does not fit. "
        "Over several GPUs of a pod (`engine.tensorParallel`) weights and tokens are divided. An A100 has no fp8.\n"
    )
    for precision in PRECISIONS:
        yield f"### {precision}\n"
        yield from build_memory_table(precision)
    yield f"## How fast it is on one {GPU}\n"
    yield (
        "Tokens per second, measured: answers of one stream, of 32 and of 256 at a context of 1,024 tokens; prompts of "
        "some hundred tokens. *Chat* is computed from them, prompt and answer tokens together, for the chat below. "
        "Other GPUs were not measured by us; a replica measures itself: `kubectl get mdep -o wide`.\n"
    )
    yield from build_rate_table(replicas, rates)
    yield "## How many GPUs\n"
    yield (
        f"Replicas of one {GPU} each for a chat: {CHAT.requests_per_hour:.0f} requests an hour from each user who is "
        f"active at the busiest time, {CHAT.prompt_tokens:,} tokens in with {CHAT.cached_share:.0%} found in the "
        f"prefix cache, {CHAT.answer_tokens} out, used to {UTILIZATION:.0%} of capacity.\n"
    )
    yield from build_user_table(replicas)


def main() -> None:
    rates = read_rates()
    replicas = build_replicas(rates)
    FIGURES.write_text(write_figures(replicas))
    TARGET.write_text(build_page(replicas, rates))
    print(f"wrote {TARGET.name} and {FIGURES.name}")


if __name__ == "__main__":
    main()
