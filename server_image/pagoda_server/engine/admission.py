"""Which requests the engine can ever run. Pure: a refusal names the field, the value and the fix."""

from pagoda_server.engine.pages import PagePool
from pagoda_server.engine.scheduler import Limits
from pagoda_server.wire import Rejected, Submit


def find_rejection(submit: Submit, limits: Limits, pool: PagePool) -> Rejected | None:
    """None when the request fits an otherwise empty engine."""
    problem = _find_prompt_problem(submit, limits) or _find_length_problem(submit, limits, pool)
    if problem is None:
        return None
    param, message = problem
    return Rejected(request_id=submit.request_id, message=message, param=param)


def _find_prompt_problem(submit: Submit, limits: Limits) -> tuple[str, str] | None:
    prompt = submit.prompt_token_ids
    if not prompt:
        return "prompt", "prompt has no tokens; give at least one"
    wrong = next((token_id for token_id in prompt if not 0 <= token_id < limits.vocab_size), None)
    if wrong is not None:
        return "prompt", f"prompt holds token id {wrong}; the model knows 0 to {limits.vocab_size - 1}"
    if len(prompt) >= limits.max_model_len:
        return "prompt", (
            f"prompt has {len(prompt)} tokens; shorten it below max_model_len {limits.max_model_len}, "
            "which counts prompt and answer together"
        )
    return None


def _find_length_problem(submit: Submit, limits: Limits, pool: PagePool) -> tuple[str, str] | None:
    num_prompt, max_tokens = len(submit.prompt_token_ids), submit.sampling.max_tokens
    if max_tokens < 1:
        return "max_tokens", f"max_tokens is {max_tokens}; give at least 1"
    if num_prompt + max_tokens > limits.max_model_len:
        return "max_tokens", (
            f"max_tokens is {max_tokens} and the prompt has {num_prompt} tokens, together above max_model_len "
            f"{limits.max_model_len}; give max_tokens of at most {limits.max_model_len - num_prompt}"
        )
    pages = pool.pages_for(num_prompt + max_tokens - 1)
    if pages > pool.total_pages:
        fit = pool.total_pages * pool.page_size + 1 - num_prompt
        return "max_tokens", (
            f"max_tokens is {max_tokens} and the prompt has {num_prompt} tokens: {pages} KV pages, but the engine has "
            f"{pool.total_pages}; " + (f"give max_tokens of at most {fit}" if fit > 0 else "shorten the prompt")
        )
    return None
