"""The histograms that the engine fills and the front shows. Plain numbers: both processes load this.

The engine observes once per step and once per request that ends, never per token; its counts travel in `Stats`.
"""

from bisect import bisect_left
from dataclasses import dataclass

from pagoda_server.wire import Distribution

# fmt: off
TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560
)
ITL_BOUNDS = (
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80
)
E2E_BOUNDS = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
LENGTH_BOUNDS = (
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000
)
CHOICE_BOUNDS = (1, 2, 5, 10, 20)
PAGE_BOUNDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800
)
STEP_BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384)
# fmt: on


@dataclass(frozen=True, slots=True)
class EngineHistogram:
    name: str
    """vLLM's name, and ours behind our prefix."""
    text: str
    bounds: tuple[float, ...]


QUEUE_TIME = EngineHistogram(
    "request_queue_time_seconds", "Seconds from a request's reaching the engine to its first step", TTFT_BOUNDS
)
PREFILL_TIME = EngineHistogram(
    "request_prefill_time_seconds", "Seconds from a request's first step to its first token", TTFT_BOUNDS
)
INFERENCE_TIME = EngineHistogram(
    "request_inference_time_seconds", "Seconds from a request's first step to its end", E2E_BOUNDS
)
DECODE_TIME = EngineHistogram(
    "request_decode_time_seconds", "Seconds from a request's first token to its last", E2E_BOUNDS
)
TIME_PER_OUTPUT_TOKEN = EngineHistogram(
    "request_time_per_output_token_seconds",
    "Mean seconds per token of an answer after its first; 0 for an answer of one token",
    ITL_BOUNDS,
)
PROMPT_LENGTH = EngineHistogram("request_prompt_tokens", "Prompt tokens of a request that ended", LENGTH_BOUNDS)
COMPUTED_PROMPT_LENGTH = EngineHistogram(
    "request_prefill_kv_computed_tokens",
    "Prompt tokens of a request that ended which were not in the prefix cache",
    LENGTH_BOUNDS,
)
ANSWER_LENGTH = EngineHistogram("request_generation_tokens", "Answer tokens of a request that ended", LENGTH_BOUNDS)
STEP_TOKENS = EngineHistogram(
    "iteration_tokens_total", "Tokens that one step of the engine served, of prompts and answers", STEP_BOUNDS
)
PAGE_LIFETIME = EngineHistogram(
    "kv_block_lifetime_seconds",
    "Seconds that a page stayed in the prefix cache, one page in 64 is watched",
    PAGE_BOUNDS,
)
PAGE_IDLE = EngineHistogram(
    "kv_block_idle_before_evict_seconds", "Seconds from a cached page's last use to its loss, of those", PAGE_BOUNDS
)
PAGE_REUSE_GAP = EngineHistogram(
    "kv_block_reuse_gap_seconds", "Seconds between two uses of a cached page, of those", PAGE_BOUNDS
)
ENGINE_HISTOGRAMS = (
    QUEUE_TIME,
    PREFILL_TIME,
    INFERENCE_TIME,
    DECODE_TIME,
    TIME_PER_OUTPUT_TOKEN,
    PROMPT_LENGTH,
    COMPUTED_PROMPT_LENGTH,
    ANSWER_LENGTH,
    STEP_TOKENS,
    PAGE_LIFETIME,
    PAGE_IDLE,
    PAGE_REUSE_GAP,
)


class Observed:
    """What all engine histograms have counted since the start."""

    def __init__(self) -> None:
        self._counts = {histogram.name: [0] * (len(histogram.bounds) + 1) for histogram in ENGINE_HISTOGRAMS}
        self._totals = {histogram.name: 0.0 for histogram in ENGINE_HISTOGRAMS}

    def observe(self, histogram: EngineHistogram, value: float) -> None:
        self._counts[histogram.name][bisect_left(histogram.bounds, value)] += 1
        self._totals[histogram.name] += value

    def snapshot(self) -> dict[str, Distribution]:
        """Returns copies of all counts, by the histogram's name."""
        return {name: Distribution(list(counts), self._totals[name]) for name, counts in self._counts.items()}
