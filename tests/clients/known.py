"""The clients that are tried: what is installed, what each does, and in which words of its own.

A light one is tried by `make test`; the others, whose packages are many or large, by `make clients` only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements/clients"


@dataclass(frozen=True, slots=True)
class Client:
    name: str
    """Of its program and of its lock."""
    title: str
    package: str
    cases: Mapping[str, str]
    """By their names in `cases.CHECKS`, how the client does it."""
    is_light: bool = True

    @property
    def is_node(self) -> bool:
        return (LOCKS / self.name).is_dir()

    @property
    def program(self) -> Path:
        return Path(__file__).parent / "programs" / f"with_{self.name}.{'mjs' if self.is_node else 'py'}"


CLIENTS = (
    Client(
        "openai",
        "openai, for Python",
        "openai",
        {
            "two_turns": "`chat.completions.create`",
            "streaming": "`chat.completions.stream`",
            "tools": "`tools=`",
            "schema": "`chat.completions.parse`",
            "schema_by_tool": "`pydantic_function_tool`",
            "responses": "`responses.create`, `previous_response_id`",
            "responses_tools": "tools",
            "responses_schema": "`responses.parse`",
            "embeddings": "embeddings refused by a `NotFoundError`",
        },
    ),
    Client(
        "openai_node",
        "openai, for Node",
        "openai",
        {
            "two_turns": "`chat.completions.create`",
            "streaming": "`chat.completions.stream`",
            "tools": "`runTools`",
            "schema": "`zodResponseFormat`",
            "responses": "`responses.stream`, `previous_response_id`",
            "embeddings": "embeddings refused by a `NotFoundError`",
        },
    ),
    Client(
        "anthropic",
        "anthropic, for Python",
        "anthropic",
        {
            "two_turns": "`messages.create`",
            "streaming": "`messages.stream`",
            "tools": "`beta.messages.tool_runner`",
            "schema_by_choice": "`messages.parse`",
            "count_tokens": "`count_tokens`",
        },
    ),
    Client(
        "langchain",
        "LangChain",
        "langchain-openai",
        {
            "two_turns": "`invoke`",
            "streaming": "`stream`",
            "tools": "`bind_tools`",
            "schema": '`with_structured_output(method="json_schema")`',
            "schema_by_tool": '`method="function_calling"`',
            "responses_tools": "`use_responses_api=True`",
        },
    ),
    Client(
        "litellm",
        "LiteLLM",
        "litellm",
        {
            "two_turns": "`completion`",
            "streaming": "`stream=True`, `stream_chunk_builder`",
            "tools": "`tools=`",
            "schema": "`response_format=`, a pydantic model",
            "responses": "`responses`",
        },
    ),
    Client(
        "pydantic_ai",
        "Pydantic AI",
        "pydantic-ai-slim",
        {
            "two_turns": "`message_history=`",
            "streaming": "`run_stream`",
            "tools": "`Agent(tools=…)`",
            "schema": "`NativeOutput`",
            "schema_by_tool": "`output_type=`",
            "responses_tools": "`OpenAIResponsesModel`",
            "messages_tools": "`AnthropicModel`",
        },
    ),
    Client(
        "ai_sdk",
        "AI SDK",
        "ai",
        {
            "two_turns": "`generateText`",
            "streaming": "`streamText`",
            "tools": "`tool`, `stopWhen`",
            "schema": "`Output.object`",
        },
    ),
    Client(
        "instructor",
        "Instructor",
        "instructor",
        {
            "two_turns": "`response_model=None`",
            "partials": "`create_partial`",
            "schema": "`Mode.JSON_SCHEMA`",
            "schema_by_tool": "`Mode.TOOLS`",
        },
    ),
    Client(
        "openai_agents",
        "OpenAI Agents SDK",
        "openai-agents",
        {
            "two_turns": "`SQLiteSession`",
            "streaming": "`Runner.run_streamed`",
            "tools": "`function_tool`, `OpenAIChatCompletionsModel`",
            "schema": "`output_type=`",
            "responses_tools": "`OpenAIResponsesModel`",
        },
        is_light=False,
    ),
    Client(
        "autogen",
        "AutoGen",
        "autogen-agentchat",
        {
            "two_turns": "`AssistantAgent`",
            "streaming": "`model_client_stream=True`",
            "tools": "`AssistantAgent(tools=…)`",
            "schema": "`output_content_type=`",
        },
        is_light=False,
    ),
    Client(
        "llama_index",
        "LlamaIndex",
        "llama-index-llms-openai-like",
        {
            "two_turns": "`SimpleChatEngine`",
            "streaming": "`stream_chat`",
            "tools": "`FunctionAgent`",
            "schema": "`should_use_structured_outputs=True`",
            "schema_by_tool": "`structured_predict`",
        },
        is_light=False,
    ),
    Client(
        "haystack",
        "Haystack",
        "haystack-ai",
        {
            "two_turns": "`OpenAIChatGenerator`",
            "streaming": "`streaming_callback=`",
            "tools": "`Agent(tools=…)`",
            "schema": "`response_format=`, a pydantic model",
        },
        is_light=False,
    ),
    Client(
        "dspy",
        "DSPy",
        "dspy",
        {"two_turns": "`dspy.LM`", "schema_by_choice": "`JSONAdapter`"},
        is_light=False,
    ),
    Client(
        "lm_eval",
        "lm-evaluation-harness",
        "lm-eval",
        {
            "log_likelihoods": "`local-completions`, a task of log-likelihoods",
            "generated": "a task of generated answers",
        },
        is_light=False,
    ),
    Client("aiperf", "AIPerf", "aiperf", {"load": "`aiperf profile --streaming`"}, is_light=False),
    Client("guidellm", "GuideLLM", "guidellm", {"load": "`guidellm run`"}, is_light=False),
)
