"""How a request's tokens are to be chosen, as the engine is told; what it cannot hold is refused by its name."""

from collections.abc import Iterable, Sequence

import msgspec

from pagoda_server.http.errors import RequestError
from pagoda_server.http.schemas import GenerationRequest
from pagoda_server.text.tokenizer import Tokenizer
from pagoda_server.wire import GREEDY_TEMPERATURE, MAX_BAD_WORD_TOKENS, Sampling

SEED_MASK = 2**63 - 1
MAX_PROMPT_SCORES = 500_000
"""For all prompts of a request, and for each of its answers again: some 30 MB of JSON."""
SMALLEST_TOP_P = 1e-6
"""Already the likeliest token alone; a denormal number would be 0 on the device."""


def build_sampling(body: GenerationRequest, bad_words: Sequence[tuple[int, ...]], *, max_tokens: int) -> Sampling:
    """Returns what the first sequence of a request is told."""
    temperature = 1.0 if body.temperature is None else body.temperature
    return Sampling(
        max_tokens=max_tokens,
        temperature=temperature if temperature >= GREEDY_TEMPERATURE else 0.0,
        top_p=1.0 if body.top_p is None else max(body.top_p, SMALLEST_TOP_P),
        top_k=max(0, body.top_k or 0),
        min_p=body.min_p or 0.0,
        seed=None if body.seed is None else body.seed & SEED_MASK,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        repetition_penalty=1.0 if body.repetition_penalty is None else body.repetition_penalty,
        logprobs=body.wire_logprobs,
        stop_token_ids=tuple(body.stop_token_ids or ()),
        ignore_eos=bool(body.ignore_eos),
        min_tokens=body.min_tokens or 0,
        logit_bias=body.biases,
        allowed_token_ids=None if body.allowed_token_ids is None else tuple(body.allowed_token_ids),
        bad_words=tuple(bad_words),
        prompt_logprobs=body.wire_prompt_logprobs,
    )


def vary_sampling(first: Sampling, offset: int, *, scores_prompt: bool) -> Sampling:
    """Returns what the sequence `offset` of a request is told: a seed of its own.

    The prompt is scored once, with the first, unless each begins with its scores.
    """
    if offset == 0:
        return first
    return msgspec.structs.replace(
        first,
        seed=None if first.seed is None else (first.seed + offset) & SEED_MASK,
        prompt_logprobs=first.prompt_logprobs if scores_prompt or first.max_tokens == 0 else None,
    )


def encode_bad_words(tokenizer: Tokenizer, words: Sequence[str]) -> list[tuple[int, ...]]:
    """Returns the token sequences that spell the words, at the start of a text and behind a space.

    Raises `RequestError` for more than the engine holds back.
    """
    spellings = dict.fromkeys(spelling for word in words for spelling in (word, f" {word.lstrip()}"))
    encoded = (tuple(tokenizer.encode(spelling, add_special_tokens=False)) for spelling in spellings)
    sequences = [token_ids for token_ids in dict.fromkeys(encoded) if token_ids]
    total = sum(map(len, sequences))
    if total > MAX_BAD_WORD_TOKENS:
        raise RequestError(
            f"bad_words has {total} tokens in all; give fewer or shorter ones, of at most {MAX_BAD_WORD_TOKENS} tokens",
            param="bad_words",
            code="invalid_value",
        )
    return sequences


def check_vocabulary(body: GenerationRequest, vocab_size: int) -> None:
    """Raises `RequestError` for a token id that the model does not have."""
    _check_ids("stop_token_ids", body.stop_token_ids or (), vocab_size)
    _check_ids("allowed_token_ids", body.allowed_token_ids or (), vocab_size)
    _check_ids("logit_bias", map(int, body.logit_bias or ()), vocab_size)


def check_prompt_scores(body: GenerationRequest, prompt_tokens: int) -> None:
    """Raises `RequestError` where the answer would hold more log-probabilities of prompts than it may."""
    wanted = body.wire_prompt_logprobs
    if wanted is None:
        return
    total = prompt_tokens * (1 + wanted) * body.num_sequences
    if total > MAX_PROMPT_SCORES:
        param = "logprobs" if body.prompt_logprobs is None else "prompt_logprobs"
        raise RequestError(
            f"{param} asks for {total} log-probabilities of prompts; lower it, or send fewer tokens, "
            f"so that there are at most {MAX_PROMPT_SCORES}",
            param=param,
            code="invalid_value",
        )


def _check_ids(name: str, token_ids: Iterable[int], vocab_size: int) -> None:
    worst = max(token_ids, default=0)
    if worst >= vocab_size:
        raise RequestError(
            f"{name} has token id {worst}; the largest is {vocab_size - 1}", param=name, code="invalid_value"
        )
