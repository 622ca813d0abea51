"""The body of a request for a response."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from pagoda_server.dialog.turn import Effort, JsonFormat, Thinking, Tool, ToolMode, ToolUse
from pagoda_server.grammar.build import JsonOptions
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.dialog_fields import check_template_options
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import always, only
from pagoda_server.http.hints import Label, ServiceTier
from pagoda_server.http.numbers import Biases, Int, Penalty
from pagoda_server.http.responses.items import Items
from pagoda_server.http.stop_fields import StopFields
from pagoda_server.http.strict import Strict
from pagoda_server.http.token_fields import CacheSalt
from pagoda_server.http.tool_schemas import MAX_TOOLS, Name, check_tools, choose_tools
from pagoda_server.wire import MAX_LOGPROBS

MAX_METADATA = 16
LOGPROBS = "message.output_text.logprobs"
Include = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
]
"""Of these an answer here has log-probabilities alone; the others ask for what tools of OpenAI's own would say."""


class FunctionTool(Strict):
    unbuilt = {"defer_loading": only(False)}
    type: Literal["function"]
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def build(self) -> Tool:
        return Tool(self.name, self.description or "", self.parameters or {}, strict=bool(self.strict))


class NamedTool(Strict):
    type: Literal["function"]
    name: Name


class AllowedTools(Strict):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


def _find_choice_form(value: Any) -> str:
    if not isinstance(value, dict):
        return "<word>"
    return "<allowed>" if value.get("type") == "allowed_tools" else "<tool>"


class TextFormat(Strict):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    content: Annotated[Any, Field(alias="schema")] = None

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        return value


class TextOptions(Strict):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    """A hint, which this server does not heed."""


class Reasoning(Strict):
    unbuilt = {"generate_summary": always, "context": always}
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed", "none"] | None = None
    """A hint: reasoning is given as it is, and nobody sums it up."""


class StreamOptions(Strict):
    include_obfuscation: bool | None = None


class ResponseRequest(StopFields):
    unbuilt = {
        "access_programs": only(),
        "background": only(False),
        "background_options": only(),
        "context_management": only([]),
        "conversation": only(),
        "enable_response_messages": only(False),
        "image": only(),
        "max_tool_calls": always,
        "moderation": only(),
        "prompt": only(),
        "prompt_cache_options": always,
        "prompt_cache_retention": always,
        "session_id": always,
        "skip_special_tokens": only(True),
        "spaces_between_special_tokens": always,
        "vllm_xargs": only({}),
        "kv_transfer_params": only({}),
        "media_io_kwargs": only({}),
        "priority": only(0),
        "stream_interval": only(1),
    }
    model: str
    input: Items
    instructions: str | None = None
    max_output_tokens: Annotated[Int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    logit_bias: Biases | None = None
    ignore_eos: bool | None = None
    cache_salt: CacheSalt | None = None
    seed: Annotated[Int, Field(ge=-(2**63), lt=2**63)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2)] | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: (
        Annotated[
            Annotated[Literal["none", "auto", "required"], Tag("<word>")]
            | Annotated[NamedTool, Tag("<tool>")]
            | Annotated[AllowedTools, Tag("<allowed>")],
            Discriminator(_find_choice_form),
        ]
        | None
    ) = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    include_reasoning: bool | None = None
    include: Annotated[list[Include], Field(max_length=16, fail_fast=True)] | None = None
    top_logprobs: Annotated[Int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    """The gateway's to heed."""
    previous_response_id: str | None = None
    metadata: Annotated[dict[Label, Label], Field(max_length=MAX_METADATA)] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None
    service_tier: ServiceTier | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> "ResponseRequest":
        if self.previous_response_id is not None:
            raise RequestError(
                "previous_response_id is given, but this server keeps no answers; send the whole conversation as input",
                param="previous_response_id",
                code="unsupported_parameter",
            )
        check_template_options(self.chat_template_kwargs or {})
        return self

    @property
    def num_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if LOGPROBS in (self.include or ()) else None

    @property
    def thinking(self) -> Thinking:
        return Thinking(None if self.reasoning is None else self.reasoning.effort)

    @property
    def answer_form(self) -> AnswerForm | None:
        """Returns the form that the answer is to have. Raises `RequestError`."""
        wanted = None if self.text is None else self.text.format
        if wanted is None or wanted.type == "text":
            return None
        if wanted.type == "json_object":
            return AnswerForm("text.format", JsonFormat(), JsonOptions())
        if not isinstance(wanted.content, dict | bool):
            raise RequestError(
                "text.format.schema is not a JSON schema; give an object",
                param="text.format.schema",
                code="invalid_value",
            )
        return AnswerForm("text.format.schema", JsonFormat(wanted.content), JsonOptions())

    def build_tool_use(self) -> ToolUse:
        """Returns which tools may be called. Raises `RequestError`."""
        tools = [tool.build() for tool in self.tools or ()]
        check_tools(tools, "tools")
        mode, name, allowed = self._read_choice()
        parallel = self.parallel_tool_calls is not False
        return choose_tools(tools, mode=mode, name=name, allowed=allowed, parallel=parallel)

    def _read_choice(self) -> tuple[ToolMode, str | None, list[str] | None]:
        match self.tool_choice:
            case NamedTool(name=name):
                return "required", name, None
            case AllowedTools(mode=mode, tools=tools):
                return mode, None, [tool.name for tool in tools]
            case None:
                return "auto", None, None
            case word:
                return word, None, None
