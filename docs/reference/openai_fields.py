"""The fields of OpenAI's APIs and of vLLM's, each with a value that asks for something: data of `generate_openai.py`.

Whether a field works is not said here: the page says what the server did with the value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, EMBEDDINGS, MESSAGES = "/v1/responses", "/v1/embeddings", "/v1/messages"
MODEL = "tiny"
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    value: Any
    beside: Body = field(default_factory=dict)
    """What the field needs beside it."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    path: str
    body: Body
    """The smallest request; a field stands beside it."""
    fields: tuple[Field, ...]


USER: Body = {"role": "user", "content": "Hi"}
ASSISTANT: Body = {"role": "assistant", "content": "Hel"}
FUNCTION: Body = {
    "name": "get_time",
    "description": "The time in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL: Body = {"type": "function", "function": FUNCTION}
SCHEMA: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL: Body = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"city": "Bern"}'}}
IMAGE: Body = {"type": "image_url", "image_url": {"url": "https://site.example/a.png"}}
AUDIO: Body = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
CHAT_BODY: Body = {"model": MODEL, "messages": [USER]}
COMPLETION_BODY: Body = {"model": MODEL, "prompt": "Hi", "max_tokens": 100}

SAMPLING = (
    Field("temperature", 0.5),
    Field("top_p", 0.5),
    Field("seed", 7),
    Field("frequency_penalty", 0.5),
    Field("presence_penalty", 0.5),
    Field("logit_bias", {"65": 5}),
    Field("n", 2),
    Field("max_tokens", 3),
    Field("stop", ["wör"]),
    Field("stream", True),
    Field("stream_options.include_usage", True, {"stream": True}),
    Field("stream_options.include_obfuscation", True, {"stream": True}),
)
LABELS = (
    Field("user", "user-1"),
    Field("metadata", {"run": "1"}),
    Field("store", True),
    Field("safety_identifier", "user-1"),
    Field("service_tier", "flex"),
    Field("prompt_cache_key", "chat-1"),
    Field("prompt_cache_options", {"mode": "implicit"}),
    Field("prompt_cache_retention", "24h"),
)
CHAT_FIELDS = (
    *SAMPLING,
    Field("max_completion_tokens", 3),
    Field("logprobs", True),
    Field("top_logprobs", 2, {"logprobs": True}),
    *LABELS,
    Field("response_format", {"type": "json_object"}),
    Field("response_format", {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA, "strict": True}}),
    Field("tools", [TOOL]),
    Field("tool_choice", "required", {"tools": [TOOL]}),
    Field("tool_choice", {"type": "function", "function": {"name": "get_time"}}, {"tools": [TOOL]}),
    Field("tool_choice", "none", {"tools": [TOOL]}),
    Field("parallel_tool_calls", False, {"tools": [TOOL]}),
    Field("functions", [FUNCTION]),
    Field("function_call", {"name": "get_time"}, {"functions": [FUNCTION]}),
    Field("reasoning_effort", "high"),
    Field("verbosity", "low"),
    Field("prediction", {"type": "content", "content": "Hello"}),
    Field("modalities", ["text", "audio"]),
    Field("audio", {"voice": "alloy", "format": "wav"}),
    Field("moderation", {"model": "m"}),
    Field("web_search_options", {}),
)
MESSAGE_FIELDS = (
    Field("messages", [{"role": "system", "content": "Be short."}, USER]),
    Field("messages", [{"role": "developer", "content": "Be short."}, USER]),
    Field("messages", [USER, {"role": "assistant", "content": None}, USER]),
    Field("messages", [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]}]),
    Field("messages", [{**USER, "name": "Ann"}]),
    Field("messages", [USER, {"role": "assistant", "content": None, "refusal": "No."}, USER]),
    Field("messages", [USER, {"role": "assistant", "tool_calls": [CALL]}, USER]),
    Field("messages", [USER, {"role": "tool", "tool_call_id": "call_1", "content": "12:00"}]),
    Field("messages", [USER, {"role": "function", "name": "get_time", "content": "12:00"}]),
    Field("messages", [USER, {**ASSISTANT, "reasoning_content": "Hm."}, USER]),
    Field("messages", [USER, {**ASSISTANT, "audio": {"id": "a"}}, USER]),
    Field("messages", [{"role": "user", "content": [IMAGE]}]),
    Field("messages", [{"role": "user", "content": [AUDIO]}]),
    Field("messages", [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]),
    Field("messages", [USER, {**ASSISTANT, "prefix": True}]),
    Field("messages", [USER, {**ASSISTANT, "partial": True}]),
)
COMPLETION_FIELDS = (
    *SAMPLING,
    Field("logprobs", 2),
    Field("echo", True),
    Field("echo", True, {"max_tokens": 0, "logprobs": 1}),
    Field("best_of", 2),
    Field("suffix", "Bye"),
    Field("user", "user-1"),
    Field("prompt", ["Hi", "Ho"]),
    Field("prompt", [72, 105]),
    Field("prompt", [[72, 105], [72]]),
)
VLLM_FIELDS = (
    Field("top_k", 5),
    Field("min_p", 0.1),
    Field("repetition_penalty", 1.1),
    Field("stop_token_ids", [5]),
    Field("include_stop_str_in_output", True, {"stop": ["wör"]}),
    Field("ignore_eos", True),
    Field("min_tokens", 2),
    Field("allowed_token_ids", [65, 66]),
    Field("bad_words", ["wör"]),
    Field("prompt_logprobs", 1),
    Field("truncate_prompt_tokens", 1),
    Field("truncation_side", "right", {"truncate_prompt_tokens": 1}),
    Field("skip_special_tokens", False),
    Field("spaces_between_special_tokens", False),
    Field("return_token_ids", True),
    Field("stream_options.continuous_usage_stats", True, {"stream": True, "stream_options": {"include_usage": True}}),
    Field("cache_salt", "my-own"),
    Field("request_id", "run-7"),
    Field("session_id", "run"),
    Field("priority", 1),
    Field("structured_outputs", {"regex": "a+"}),
    Field("structured_outputs", {"choice": ["a", "b"]}),
    Field("structured_outputs", {"json": SCHEMA}),
    Field("structured_outputs", {"grammar": 'root ::= "a"'}),
    Field("guided_json", SCHEMA),
    Field("guided_regex", "a+"),
    Field("guided_choice", ["a", "b"]),
    Field("guided_grammar", 'root ::= "a"'),
    Field("logprob_token_ids", [65]),
    Field("use_beam_search", True),
    Field("length_penalty", 0.5),
    Field("early_stopping", True),
    Field("logits_processors", ["f"]),
    Field("repetition_detection", {"max_pattern_size": 4}),
    Field("stream_interval", 4),
    Field("thinking_token_budget", 10),
    Field("watermarking", True),
    Field("detokenize", False),
    Field("vllm_xargs", {"a": 1}),
    Field("kv_transfer_params", {"a": 1}),
    Field("ec_transfer_params", {"a": 1}),
    Field("mm_processor_kwargs", {"a": 1}),
    Field("return_token_offsets", True),
    Field("return_mm_kwargs", False),
    Field("routed_experts_prompt_start", 1),
)
VLLM_CHAT_FIELDS = (
    Field("add_special_tokens", True),
    Field("add_generation_prompt", False),
    Field("return_tokens_as_token_ids", True, {"logprobs": True}),
    Field("continue_final_message", True, {"messages": [USER, ASSISTANT]}),
    Field("echo", True, {"messages": [USER, ASSISTANT], "continue_final_message": True}),
    Field("chat_template_kwargs", {"enable_thinking": False}),
    Field("chat_template", "{{ messages }}"),
    Field("documents", [{"title": "a", "text": "b"}]),
    Field("include_reasoning", False),
    Field("media_io_kwargs", {"a": {}}),
    Field("return_prompt_text", True),
    Field("best_of", 2),
)
VLLM_COMPLETION_FIELDS = (
    Field("add_special_tokens", False),
    Field("prompt_embeds", "AAAA"),
    Field("return_tokens_as_token_ids", True, {"logprobs": 0}),
    Field("response_format", {"type": "json_object"}),
    Field("best_of", 2, {"n": 2}),
)
RESPONSE_FIELDS = (
    Field("instructions", "Be short."),
    Field("max_output_tokens", 16),
    Field("temperature", 0.5),
    Field("top_p", 0.5),
    Field("top_logprobs", 1, {"include": ["message.output_text.logprobs"]}),
    Field("stream", True),
    Field("stream_options.include_obfuscation", True, {"stream": True}),
    Field("store", False),
    Field("metadata", {"run": "1"}),
    Field("user", "user-1"),
    Field("safety_identifier", "user-1"),
    Field("service_tier", "flex"),
    Field("prompt_cache_key", "chat-1"),
    Field("prompt_cache_options", {"mode": "implicit"}),
    Field("prompt_cache_retention", "24h"),
    Field("text", {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}),
    Field("text", {"verbosity": "low"}),
    Field("tools", [{"type": "function", **FUNCTION}]),
    Field("tools", [{"type": "web_search"}]),
    Field("tool_choice", "required", {"tools": [{"type": "function", **FUNCTION}]}),
    Field("parallel_tool_calls", False),
    Field("max_tool_calls", 1),
    Field("reasoning", {"effort": "high"}),
    Field("truncation", "auto"),
    Field("include", ["reasoning.encrypted_content"]),
    Field("previous_response_id", "resp_0"),
    Field("conversation", "conv_0"),
    Field("context_management", [{"type": "compaction"}]),
    Field("background", True),
    Field("background_options", {"completion_window": "soonest"}),
    Field("prompt", {"id": "p"}),
    Field("moderation", {"model": "m"}),
    Field("access_programs", {"cyber": "standard"}),
    Field("image", {"context_compression": "auto"}),
    Field("top_k", 5),
    Field("min_p", 0.1),
    Field("seed", 7),
    Field("frequency_penalty", 0.5),
    Field("presence_penalty", 0.5),
    Field("repetition_penalty", 1.1),
    Field("logit_bias", {"65": 5}),
    Field("stop", ["wör"]),
    Field("include_stop_str_in_output", True, {"stop": ["wör"]}),
    Field("ignore_eos", True),
    Field("cache_salt", "my-own"),
    Field("session_id", "run"),
    Field("skip_special_tokens", False),
    Field("spaces_between_special_tokens", False),
    Field("include_reasoning", False),
    Field("priority", 1),
    Field("kv_transfer_params", {"a": 1}),
    Field("vllm_xargs", {"a": 1}),
    Field("media_io_kwargs", {"a": {}}),
    Field("enable_response_messages", True),
)
ANTHROPIC_FIELDS = (
    Field("system", "Be short."),
    Field("temperature", 0.5),
    Field("top_p", 0.5),
    Field("top_k", 5),
    Field("stop_sequences", ["wör"]),
    Field("stream", True),
    Field("metadata", {"user_id": "1"}),
    Field("service_tier", "auto"),
    Field("thinking", {"type": "enabled", "budget_tokens": 1024}),
    Field("tools", [{"name": "get_time", "input_schema": SCHEMA}]),
    Field("tool_choice", {"type": "any"}, {"tools": [{"name": "get_time", "input_schema": SCHEMA}]}),
)
EMBEDDING_FIELDS = (
    Field("dimensions", 8),
    Field("encoding_format", "base64"),
    Field("user", "user-1"),
)
SECTIONS = (
    Section("Chat completions: OpenAI's fields", CHAT, CHAT_BODY, CHAT_FIELDS),
    Section("Chat completions: messages", CHAT, CHAT_BODY, MESSAGE_FIELDS),
    Section("Chat completions: vLLM's fields", CHAT, CHAT_BODY, (*VLLM_FIELDS, *VLLM_CHAT_FIELDS)),
    Section("Completions: OpenAI's fields", COMPLETIONS, COMPLETION_BODY, COMPLETION_FIELDS),
    Section(
        "Completions: vLLM's fields", COMPLETIONS, COMPLETION_BODY, (*VLLM_FIELDS, *LABELS[1:], *VLLM_COMPLETION_FIELDS)
    ),
    Section("Responses", RESPONSES, {"model": MODEL, "input": "Hi"}, RESPONSE_FIELDS),
    Section("Messages", MESSAGES, {"model": MODEL, "max_tokens": 100, "messages": [USER]}, ANTHROPIC_FIELDS),
    Section("Embeddings", EMBEDDINGS, {"model": MODEL, "input": "Hi"}, EMBEDDING_FIELDS),
)
