"""Which requests the engine can ever run. Pure: a refusal names the field, the value and the fix."""

from collections.abc import Sequence

from pagoda_server.engine.batch import Limits
from pagoda_server.engine.pages import PagePool
from pagoda_server.wire import MAX_BAD_WORD_TOKENS, MAX_BIAS, MAX_LOGPROBS, Rejected, Sampling, Submit

Problem = tuple[str, str]
"""The field, and what is wrong with it."""
RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0.0, 100.0),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "top_k": (-1, 2**31 - 1),
    "presence_penalty": (-100.0, 100.0),
    "frequency_penalty": (-100.0, 100.0),
    "repetition_penalty": (0.01, 100.0),
    "seed": (-(2**63), 2**63 - 1),
    "logprobs": (0, MAX_LOGPROBS),
    "prompt_logprobs": (0, MAX_LOGPROBS),
}
"""Minimum and maximum: what device tensors hold and logits bear. None, where a field may have it, is in range."""


def find_rejection(submit: Submit, limits: Limits, pool: PagePool) -> Rejected | None:
    """Returns why the request can never run; None when it fits an otherwise empty engine."""
    problem = (
        _find_prompt_problem(submit.prompt_token_ids, limits)
        or _find_length_problem(submit, limits, pool)
        or _find_sampling_problem(submit.sampling, limits)
    )
    if problem is None:
        return None
    param, message = problem
    return Rejected(request_id=submit.request_id, message=message, param=param)


def build_in_use(request_id: str) -> Rejected:
    message = f"request_id {request_id!r} is in use; give each request its own"
    return Rejected(request_id=request_id, message=message, param="request_id")


def build_overdue(request_id: str) -> Rejected:
    message = "the engine had no turn for this request in the time that one may wait; try again later"
    return Rejected(request_id=request_id, message=message, reason="overdue")


def _find_prompt_problem(prompt: Sequence[int], limits: Limits) -> Problem | None:
    if not prompt:
        return "prompt", "prompt has no tokens; give at least one"
    if len(prompt) >= limits.max_model_len:
        return "prompt", (
            f"prompt has {len(prompt)} tokens; shorten it below max_model_len {limits.max_model_len}, "
            "which counts prompt and answer together"
        )
    return _find_token_problem("prompt", prompt, limits)


def _find_token_problem(name: str, token_ids: Sequence[int], limits: Limits) -> Problem | None:
    lowest, highest = min(token_ids, default=0), max(token_ids, default=0)
    if lowest >= 0 and highest < limits.vocab_size:
        return None
    wrong = lowest if lowest < 0 else highest
    return name, f"{name} holds token id {wrong}; the model knows 0 to {limits.vocab_size - 1}"


def _find_length_problem(submit: Submit, limits: Limits, pool: PagePool) -> Problem | None:
    num_prompt, max_tokens = len(submit.prompt_token_ids), submit.sampling.max_tokens
    if max_tokens < 0 or (max_tokens == 0 and submit.sampling.prompt_logprobs is None):
        return "max_tokens", f"max_tokens is {max_tokens}; give at least 1, or 0 with prompt_logprobs alone"
    if num_prompt + max_tokens > limits.max_model_len:
        return "max_tokens", (
            f"max_tokens is {max_tokens} and the prompt has {num_prompt} tokens, together above max_model_len "
            f"{limits.max_model_len}; give max_tokens of at most {limits.max_model_len - num_prompt}"
        )
    pages = pool.pages_for(num_prompt + max(max_tokens, 1) - 1)
    if pages > pool.total_pages:
        fit = pool.total_pages * pool.page_size + 1 - num_prompt
        return "max_tokens", (
            f"max_tokens is {max_tokens} and the prompt has {num_prompt} tokens: {pages} KV pages, but the engine has "
            f"{pool.total_pages}; " + (f"give max_tokens of at most {fit}" if fit > 0 else "shorten the prompt")
        )
    return None


def _find_sampling_problem(sampling: Sampling, limits: Limits) -> Problem | None:
    """Returns the first field that is out of range. NB: NaN is in no range."""
    for name, (minimum, maximum) in RANGES.items():
        value: float | None = getattr(sampling, name)
        if value is not None and not minimum <= value <= maximum:
            return name, f"{name} is {value}; give a number from {minimum} to {maximum}"
    if not 0 <= sampling.min_tokens <= sampling.max_tokens:
        return "min_tokens", f"min_tokens is {sampling.min_tokens}; give a number from 0 to max_tokens"
    return (
        _find_token_problem("stop_token_ids", sampling.stop_token_ids, limits)
        or _find_bias_problem(sampling, limits)
        or _find_choice_problem(sampling, limits)
    )


def _find_bias_problem(sampling: Sampling, limits: Limits) -> Problem | None:
    token_ids = [token_id for token_id, _ in sampling.logit_bias]
    if len(set(token_ids)) < len(token_ids):
        return "logit_bias", "logit_bias names a token id twice; name each once"
    for token_id, bias in sampling.logit_bias:
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            return "logit_bias", (
                f"logit_bias of token id {token_id} is {bias}; give a number from {-MAX_BIAS} to {MAX_BIAS}"
            )
    return _find_token_problem("logit_bias", token_ids, limits)


def _find_choice_problem(sampling: Sampling, limits: Limits) -> Problem | None:
    """Returns what is wrong with the tokens that may be chosen at all, or never."""
    if sampling.allowed_token_ids is not None and not sampling.allowed_token_ids:
        return "allowed_token_ids", "allowed_token_ids has no token ids; give at least one, or leave it out"
    if not all(sampling.bad_words):
        return "bad_words", "bad_words holds one without tokens; leave it out"
    num_tokens = sum(map(len, sampling.bad_words))
    if num_tokens > MAX_BAD_WORD_TOKENS:
        return "bad_words", f"bad_words holds {num_tokens} tokens in all; give at most {MAX_BAD_WORD_TOKENS}"
    return _find_token_problem("allowed_token_ids", sampling.allowed_token_ids or (), limits) or _find_token_problem(
        "bad_words", [token_id for word in sampling.bad_words for token_id in word], limits
    )
