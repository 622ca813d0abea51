"""What a request's life was made of, observed once: when it ends."""

from pagoda_server.engine.request import Request
from pagoda_server.histograms import (
    ANSWER_LENGTH,
    COMPUTED_PROMPT_LENGTH,
    DECODE_TIME,
    INFERENCE_TIME,
    PREFILL_TIME,
    PROMPT_LENGTH,
    QUEUE_TIME,
    TIME_PER_OUTPUT_TOKEN,
    Observed,
)


def observe_end(observed: Observed, request: Request, now: float) -> None:
    """Observes the request's lengths and times. One that ended before its first step, or its first token, has fewer."""
    if request.started_at is None:
        return
    observed.observe(PROMPT_LENGTH, request.num_prompt_tokens)
    observed.observe(COMPUTED_PROMPT_LENGTH, request.num_prompt_tokens - request.num_cached_tokens)
    observed.observe(ANSWER_LENGTH, request.num_output_tokens)
    observed.observe(QUEUE_TIME, request.started_at - request.submitted_at)
    observed.observe(INFERENCE_TIME, now - request.started_at)
    if request.first_token_at is None:
        return
    decode_seconds = now - request.first_token_at
    observed.observe(PREFILL_TIME, request.first_token_at - request.started_at)
    observed.observe(DECODE_TIME, decode_seconds)
    observed.observe(TIME_PER_OUTPUT_TOKEN, decode_seconds / max(1, request.num_output_tokens - 1))
