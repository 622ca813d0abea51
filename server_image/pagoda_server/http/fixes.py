"""What is said of a field with a wrong value: how it is named, what to give instead, and which values are not built."""

from collections.abc import Mapping

# How much of a pydantic location names a field; the rest names members of a list or a union.
LOCATION_DEPTH: Mapping[str, int] = {
    **{"messages": 6, "stream_options": 2, "response_format": 3, "structured_outputs": 2},
    **{"tools": 4, "tool_choice": 3, "functions": 3, "function_call": 2},
    **{"input": 6, "text": 3, "reasoning": 2, "include": 2, "system": 3, "thinking": 2, "output_config": 3},
}
# What to give instead, by the field's path without the indices of lists.
FIXES: Mapping[str, str] = {
    "stop": "give one non-empty string of up to 1024 characters, or a list of at most 64",
    "stop_token_ids": "give a list of at most 64 token ids",
    "n": "give 1 to 16",
    "best_of": "give 1 to 16, at least n",
    "documents": "give a list of at most 256 objects {title, text}",
    "logit_bias": "give an object of at most 1024 token ids, written as strings, with numbers from -100 to 100",
    "allowed_token_ids": "give a list of at least 1 token id",
    "bad_words": "give a list of at most 128 non-empty strings of up to 1024 characters",
    "prompt_logprobs": "give 0 to 20",
    "truncate_prompt_tokens": "give -1, or at least 1",
    "cache_salt": "give a string of 1 to 512 characters",
    "request_id": "give a string of 1 to 128 printable characters without spaces",
    "service_tier": "give auto, default, flex, scale, priority or fast",
    "verbosity": "give low, medium or high",
    "top_logprobs": "give 0 to 20, together with logprobs: true",
    "prompt": "give a string, a list of token ids, or a list of at most 64 of either",
    "messages": "give a list of at least 1 and at most 4096 objects {role, content}",
    "messages.role": "give system, developer, user, assistant, tool or function",
    "messages.content": "give a string or a list of at most 4096 parts {type: text, text}",
    "messages.content.type": "give text",
    "messages.content.text": "give a string",
    "messages.content.content.type": "give text",
    "messages.tool_calls": "give a list of at most 128 objects {id, type: function, function: {name, arguments}}",
    "messages.tool_calls.type": "give function",
    "messages.tool_call_id": "give a string of up to 256 characters",
    "messages.name": "give a string of up to 1024 characters",
    "response_format.type": "use text, json_object or json_schema",
    "response_format.json_schema": "give {name, schema}, and perhaps strict and description",
    "structured_outputs.choice": "give a list of 1 to 10000 strings",
    "guided_choice": "give a list of 1 to 10000 strings",
    "tools": "give a list of at most 128 objects {type: function, function: {name, description, parameters}}",
    "tools.type": "give function",
    "tools.function.name": "give 1 to 128 letters, digits, _ and -",
    "tools.function.parameters": "give a JSON schema, an object",
    "functions.name": "give 1 to 128 letters, digits, _ and -",
    "functions.parameters": "give a JSON schema, an object",
    "tools.name": "give 1 to 128 letters, digits, _ and -",
    "tools.parameters": "give a JSON schema, an object",
    "tools.input_schema": "give a JSON schema, an object",
    "input": "give a string, or a list of at least 1 and at most 4096 items",
    "input.type": "give message, function_call, function_call_output or reasoning",
    "input.role": "give user, assistant, system or developer",
    "input.content": "give a string or a list of at most 4096 parts {type: input_text, text}",
    "input.content.type": "give input_text or output_text",
    "input.output.type": "give input_text",
    "text.format.type": "give text, json_object or json_schema",
    "reasoning.effort": "give none, minimal, low, medium, high, xhigh or max",
    "tool_choice.type": "give function",
    "tool_choice": "give none, auto, required or {type: function, function: {name}}",
    "function_call": "give none, auto or {name}",
    "reasoning_effort": "give none, minimal, low, medium, high, xhigh or max",
}
UNBUILT_FILES = frozenset(
    {
        *("audio", "audio_url", "container_upload", "document", "file", "image", "image_url", "input_audio"),
        *(
            "input_file",
            "input_image",
            "search_result",
            "server_tool_use",
            "video",
            "video_url",
            "web_search_tool_result",
        ),
    }
)
UNBUILT_PARTS = UNBUILT_FILES | {"input_text", "output_text", "thinking", "tool_result", "tool_use"}
UNBUILT_TOOLS = frozenset(
    {
        *("apply_patch", "code_interpreter", "computer", "computer_use_preview", "custom", "file_search"),
        *("image_generation", "local_shell", "mcp", "namespace", "shell", "tool_search", "web_search"),
        *("web_search_preview", "bash_20250124", "text_editor_20250728", "web_search_20250305", "web_fetch_20250910"),
        *("code_execution_20250825", "memory_20250818", "computer_20250124"),
    }
)
UNBUILT_ITEMS = frozenset(
    {
        *("item_reference", "web_search_call", "file_search_call", "computer_call", "computer_call_output", "mcp_call"),
        *(
            "code_interpreter_call",
            "custom_tool_call",
            "custom_tool_call_output",
            "image_generation_call",
            "compaction",
        ),
        *("local_shell_call", "local_shell_call_output", "mcp_list_tools", "shell_call", "shell_call_output"),
    }
)
# Values of OpenAI's API that are not built, by the same path.
UNBUILT_VALUES: Mapping[str, frozenset[str]] = {
    "messages.content.type": UNBUILT_PARTS,
    "input.type": UNBUILT_ITEMS,
    "input.content.type": UNBUILT_FILES,
    "input.output.type": UNBUILT_FILES,
    "messages.content.content.type": UNBUILT_FILES,
    "tools.type": UNBUILT_TOOLS,
    "tool_choice.type": UNBUILT_TOOLS,
    "messages.tool_calls.type": frozenset({"custom"}),
    "response_format.type": frozenset({"structural_tag", "grammar"}),
}
