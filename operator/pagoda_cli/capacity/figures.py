"""What a replica was measured to do: written from the benchmarks by docs/reference/generate_capacity.py."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Replica:
    """What a step costs on one kind of GPU, as a sum, and how many tokens the KV cache holds."""

    model: str
    precision: str
    gpu: str
    base_seconds: float
    """A step that decodes nothing: the weights are read."""
    sequence_seconds: float
    """Each sequence that is decoded adds this, and `context_token_seconds` for each token of its context."""
    context_token_seconds: float
    prompt_token_seconds: float
    """A token of a prompt of a few hundred tokens."""
    prompt_pair_seconds: float
    """What attention adds for each pair of a prompt's tokens."""
    kv_tokens: int

    def decode_seconds(self, sequences: float, context_tokens: float) -> float:
        """Returns the seconds of a step in which each sequence gets a token."""
        return self.base_seconds + sequences * (self.sequence_seconds + context_tokens * self.context_token_seconds)

    def prefill_seconds(self, new_tokens: float, cached_tokens: float) -> float:
        """Returns the seconds of a prompt, of which `cached_tokens` were found in the prefix cache."""
        pairs = new_tokens * (cached_tokens + new_tokens / 2)
        return new_tokens * self.prompt_token_seconds + pairs * self.prompt_pair_seconds


def read_replicas() -> Mapping[tuple[str, str], Replica]:
    """Returns the replicas that were measured, by model and precision."""
    rows = json.loads(files("pagoda_cli.capacity").joinpath("figures.json").read_text())
    return {(row["model"], row["precision"]): Replica(**row) for row in rows}
