"""What `pagoda capacity` prints of an estimate."""

from dataclasses import asdict
from typing import Any

from pagoda_cli.capacity.estimate import MAX_SEQUENCES, Estimate, Workload
from pagoda_cli.capacity.figures import Replica


def count_price_per_million(found: Estimate, gpu_price_per_hour: float) -> float:
    """Returns what a million tokens cost, prompts and answers alike, at the demand that the estimate is for."""
    return found.replicas * gpu_price_per_hour / (found.demand_tokens_per_second * 3600) * 1e6


def describe(replica: Replica, load: Workload, found: Estimate, *, utilization: float, price: float | None) -> str:
    bound = "the KV cache" if found.is_bound_by_memory else f"{MAX_SEQUENCES} sequences"
    new_tokens = load.prompt_tokens * (1 - load.cached_share)
    rows = {
        "demand": f"{found.requests_per_second:,.1f} requests/s, {found.demand_tokens_per_second:,.0f} tokens/s "
        f"({new_tokens:,.0f} of a prompt's {load.prompt_tokens:,} are new, {load.answer_tokens:,} are answered)",
        "a replica": f"{found.capacity_tokens_per_second:,.0f} tokens/s of this mix, on one {replica.gpu}; "
        f"its batch is bound by {bound}",
        "replicas": f"{found.replicas:,}, each used to {utilization:.0%} or less",
        "streams at once": f"{found.streams:,}",
        "a stream": f"first token after {found.first_token_seconds * 1000:,.0f} ms or more, then one every "
        f"{found.gap_seconds * 1000:,.1f} ms",
    }
    if price is not None:
        cost = found.replicas * price
        rows["cost"] = f"{cost:,.2f} an hour, {count_price_per_million(found, price):,.3f} a million tokens"
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())


def build_record(replica: Replica, load: Workload, found: Estimate, *, price: float | None) -> dict[str, Any]:
    """Returns the same for programs."""
    record = {"model": replica.model, "precision": replica.precision, "gpu": replica.gpu, **asdict(load)}
    record |= asdict(found)
    if price is not None:
        record["price_per_million_tokens"] = count_price_per_million(found, price)
    return record
