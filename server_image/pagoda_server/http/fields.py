"""Fields of OpenAI's and of vLLM's APIs that are not built, and the values of them that ask for nothing.

A refusal judges what a value means: one that asks for what is done anyway is taken, and null means left out whatever
the field. A name that is in no table here is no field at all.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import PydanticCustomError

UNSUPPORTED = "unsupported_field"
"""The type of the validation error; its context names the field."""
NOT_YET = "is not supported yet"
Body = Mapping[str, Any]
AsksForNothing = Callable[[Any, Body], bool]
"""Says whether a value, never null, asks for nothing; it is told the object too that the value stands in."""


def only(*accepted: Any) -> AsksForNothing:
    """Returns what takes these values alone. NB: JSON's true is not 1."""
    return lambda value, body: any(
        value == one and isinstance(value, bool) is isinstance(one, bool) for one in accepted
    )


def never(value: Any, body: Body) -> bool:
    """Takes no value at all: the field is not built."""
    return False


def always(value: Any, body: Body) -> bool:
    """Takes any value of a label or a hint: the answer is the same with it."""
    return True


def _is_n(value: Any, body: Body) -> bool:
    n = body.get("n")
    return only(1 if n is None else n)(value, body)


def _biases_nothing(value: Any, body: Body) -> bool:
    return isinstance(value, dict) and not any(value.values())


HINTS = dict.fromkeys(
    [
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "request_id",
        "safety_identifier",
        "user",
    ],
    always,
)
NOT_BUILT = dict.fromkeys(
    [
        "allowed_token_ids",
        "audio",
        "cache_salt",
        "chat_template",
        "mm_processor_kwargs",
        "moderation",
        "prediction",
        "prompt_logprobs",
        "thinking_token_budget",
        "truncate_prompt_tokens",
        "web_search_options",
    ],
    never,
)
SAMPLING_FIELDS: Mapping[str, AsksForNothing] = {
    "bad_words": only([]),
    "best_of": _is_n,
    "early_stopping": only(False),
    "length_penalty": only(1),
    "logit_bias": _biases_nothing,
    "logits_processors": only([]),
    "use_beam_search": only(False),
}
TEXT_FIELDS: Mapping[str, AsksForNothing] = {
    "add_generation_prompt": only(True),
    "chat_template_kwargs": only({}),
    "continue_final_message": only(False),
    "detokenize": only(True),
    "documents": only([]),
    "echo": only(False),
    "modalities": only(["text"]),
    "return_token_ids": only(False),
    "return_tokens_as_token_ids": only(False),
    "skip_special_tokens": only(True),
    "spaces_between_special_tokens": only(True, False),
    "suffix": only(""),
}
AGENT_FIELDS: Mapping[str, AsksForNothing] = {
    "functions": only([]),
    "function_call": only("none", "auto"),
    "include_reasoning": only(True),
    "parallel_tool_calls": only(True, False),
    "reasoning_effort": only("none"),
    "tool_choice": only("none", "auto"),
    "tools": only([]),
    "verbosity": only("medium"),
}
SERVICE_FIELDS: Mapping[str, AsksForNothing] = {
    "kv_transfer_params": only({}),
    "priority": only(0),
    "service_tier": only("auto", "default"),
    "store": only(False),
    "vllm_xargs": only({}),
}
GENERATION_FIELDS = {**HINTS, **NOT_BUILT, **SAMPLING_FIELDS, **TEXT_FIELDS, **AGENT_FIELDS, **SERVICE_FIELDS}
CHAT_FIELDS: Mapping[str, AsksForNothing] = {**GENERATION_FIELDS, "add_special_tokens": only(False)}
COMPLETION_FIELDS: Mapping[str, AsksForNothing] = {
    **GENERATION_FIELDS,
    "add_special_tokens": only(True),
    "top_logprobs": only(0),
}
STREAM_FIELDS: Mapping[str, AsksForNothing] = {"include_obfuscation": only(False)}
MESSAGE_FIELDS: Mapping[str, AsksForNothing] = {
    "annotations": only([]),
    "audio": never,
    "cache_control": always,
    "function_call": only({}),
    "parsed": never,
    "prefix": only(False),
    "reasoning": only(""),
    "reasoning_content": only(""),
    "reasoning_details": only([]),
    "refusal": only(""),
    "tool_call_id": only(""),
    "tool_calls": only([]),
}
"""The fields of every role: what a server says of its own message comes back in the next turn, null or empty."""
PART_FIELDS: Mapping[str, AsksForNothing] = {
    "annotations": only([]),
    "cache_control": always,
    "logprobs": only([]),
    "prompt_cache_breakpoint": always,
}


def drop_idle(body: Body, built: Mapping[str, Any], unbuilt: Mapping[str, AsksForNothing]) -> dict[str, Any]:
    """Returns the body without what asks for nothing.

    Of several unknown names one is left: it is enough to refuse the rest. Raises a validation error for a field that is
    not built and asks for something.
    """
    kept, seen_unknown = {}, False
    for name, value in body.items():
        if name in built:
            kept[name] = value
        elif value is None:
            continue
        elif name not in unbuilt:
            if not seen_unknown:
                kept[name], seen_unknown = value, True
        elif not unbuilt[name](value, body):
            raise PydanticCustomError(UNSUPPORTED, NOT_YET, {"field": name})
    return kept
