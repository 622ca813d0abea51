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


HINTS = dict.fromkeys(["prompt_cache_options", "prompt_cache_retention", "return_mm_kwargs"], always)
NOT_BUILT = dict.fromkeys(
    [
        "audio",
        "chat_template",
        "logprob_token_ids",
        "mm_processor_kwargs",
        "moderation",
        "prompt_embeds",
        "repetition_detection",
        "web_search_options",
    ],
    never,
)
SAMPLING_FIELDS: Mapping[str, AsksForNothing] = {
    "best_of": _is_n,
    "early_stopping": only(False),
    "length_penalty": only(1),
    "logits_processors": only([]),
    "stream_interval": only(1),
    "use_beam_search": only(False),
    "watermarking": only(False),
}
TEXT_FIELDS: Mapping[str, AsksForNothing] = {
    "detokenize": only(True),
    "modalities": only(["text"]),
    "media_io_kwargs": only({}),
    "return_prompt_text": only(False),
    "return_token_offsets": only(False),
    "suffix": only(""),
}
AGENT_FIELDS: Mapping[str, AsksForNothing] = {
    "chat_template_kwargs": only({}),
    "functions": only([]),
    "function_call": only("none", "auto"),
    "include_reasoning": only(True),
    "parallel_tool_calls": only(True, False),
    "reasoning_effort": only("none"),
    "thinking_token_budget": only(-1),
    "tool_choice": only("none", "auto"),
    "tools": only([]),
}
"""What a completion, which is no conversation, does not have."""
SERVICE_FIELDS: Mapping[str, AsksForNothing] = {
    "ec_transfer_params": only({}),
    "kv_transfer_params": only({}),
    "priority": only(0),
    "routed_experts_prompt_start": only(0),
    "truncation_side": only("left"),
    "vllm_xargs": only({}),
}
GENERATION_FIELDS = {**HINTS, **NOT_BUILT, **SAMPLING_FIELDS, **TEXT_FIELDS, **SERVICE_FIELDS}
CHAT_FIELDS: Mapping[str, AsksForNothing] = GENERATION_FIELDS
COMPLETION_FIELDS: Mapping[str, AsksForNothing] = {
    **GENERATION_FIELDS,
    **AGENT_FIELDS,
    "add_generation_prompt": only(True),
    "continue_final_message": only(False),
    "documents": only([]),
    "top_logprobs": only(0),
}
STREAM_FIELDS: Mapping[str, AsksForNothing] = {}
MESSAGE_FIELDS: Mapping[str, AsksForNothing] = {
    "annotations": only([]),
    "audio": never,
    "cache_control": always,
    "parsed": never,
    "reasoning_details": only([]),
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
