"""The body of a request for a message."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pagoda_server.dialog.turn import Effort, JsonFormat, Thinking, Tool, ToolMode, ToolUse
from pagoda_server.grammar.build import JsonOptions
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.anthropic.content import MessageParam, System
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import always, only
from pagoda_server.http.messages import MAX_ITEMS
from pagoda_server.http.numbers import MAX_STOPS, Int
from pagoda_server.http.stop_fields import MAX_STOP_CHARACTERS, StopString
from pagoda_server.http.strict import Strict
from pagoda_server.http.tool_schemas import MAX_TOOLS, Name, check_tools, choose_tools

NO_THREADS = "thread_unsupported_request"
"""By this code Anthropic's client goes on without a thread, and sends the whole conversation."""
EFFORTS: dict[str, Effort] = {"low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}


class ToolParam(Strict):
    unbuilt = {
        "allowed_callers": always,
        "cache_control": always,
        "defer_loading": only(False),
        "eager_input_streaming": always,
        "input_examples": always,
    }
    type: Literal["custom"] | None = None
    name: Name
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None

    def build(self) -> Tool:
        return Tool(self.name, self.description or "", self.input_schema, strict=bool(self.strict))


class ToolChoice(Strict):
    type: Literal["auto", "any", "none", "tool"]
    name: Name | None = None
    disable_parallel_tool_use: bool | None = None

    @model_validator(mode="after")
    def _check_name(self) -> "ToolChoice":
        if (self.type == "tool") != (self.name is not None):
            raise RequestError(
                "tool_choice.name goes with type tool; give both or neither",
                param="tool_choice.name",
                code="invalid_value",
            )
        return self


class ThinkingParam(Strict):
    unbuilt = {"display": always}
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[Int, Field(ge=1)] | None = None


class OutputFormat(Strict):
    type: Literal["json_schema"]
    content: Annotated[Any, Field(alias="schema")]

    @model_validator(mode="before")
    @classmethod
    def _drop_idle(cls, value: Any) -> Any:
        return value


class OutputConfig(Strict):
    unbuilt = {"task_budget": always}
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class CountRequest(Strict):
    """What counts for a prompt."""

    unbuilt = {
        "cache_control": always,
        "container": only(),
        "context_management": always,
        "inference_geo": always,
        "mcp_servers": only([]),
        "metadata": always,
        "service_tier": always,
        "speed": always,
    }
    model: str
    messages: Annotated[list[MessageParam], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
    system: System | None = None
    tools: Annotated[list[ToolParam], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingParam | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    thread: Any = None

    @model_validator(mode="after")
    def _refuse_thread(self) -> "CountRequest":
        if self.thread is not None:
            raise RequestError(
                "thread is not taken: no conversation is kept here; remove it and send all of it in messages",
                param="thread",
                code=NO_THREADS,
            )
        return self

    @property
    def wish(self) -> Thinking:
        """Returns what is wanted of the reasoning. NB: without a word of it the model does as it does by itself."""
        effort = EFFORTS.get((self.output_config and self.output_config.effort) or "")
        match self.thinking:
            case ThinkingParam(type="disabled"):
                return Thinking("none")
            case ThinkingParam(type="enabled", budget_tokens=budget):
                return Thinking(effort or "medium", budget)
        return Thinking(effort)

    @property
    def answer_form(self) -> AnswerForm | None:
        """Returns the form that the answer is to have. Raises `RequestError`."""
        newer = self.output_config and self.output_config.format
        wanted, param = (
            (newer, "output_config.format.schema") if newer else (self.output_format, "output_format.schema")
        )
        if wanted is None:
            return None
        if not isinstance(wanted.content, dict | bool):
            raise RequestError(f"{param} is not a JSON schema; give an object", param=param, code="invalid_value")
        return AnswerForm(param, JsonFormat(wanted.content), JsonOptions())

    def build_tool_use(self) -> ToolUse:
        """Returns which tools may be called. Raises `RequestError`."""
        tools = [tool.build() for tool in self.tools or ()]
        check_tools(tools, "tools")
        choice = self.tool_choice
        if choice is None:
            return choose_tools(tools, mode="auto")
        modes: dict[str, ToolMode] = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}
        parallel = not choice.disable_parallel_tool_use
        return choose_tools(tools, mode=modes[choice.type], name=choice.name, parallel=parallel)


class MessageRequest(CountRequest):
    max_tokens: Annotated[Int, Field(ge=1)]
    stop_sequences: Annotated[list[StopString], Field(max_length=MAX_STOPS, fail_fast=True)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Int, Field(ge=-1, le=2**31 - 1)] | None = None

    @model_validator(mode="after")
    def _check_stops(self) -> "MessageRequest":
        total = sum(map(len, self.stop_sequences or ()))
        if total > MAX_STOP_CHARACTERS:
            raise RequestError(
                f"stop_sequences has {total} characters in all; give at most {MAX_STOP_CHARACTERS}",
                param="stop_sequences",
                code="invalid_value",
            )
        return self
