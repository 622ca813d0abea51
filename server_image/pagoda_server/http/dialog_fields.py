"""The fields of a chat that say which tools there are and how the model shall reason."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from pagoda_server.dialog.turn import Effort, Thinking, ToolMode, ToolUse
from pagoda_server.http.errors import RequestError
from pagoda_server.http.numbers import Int
from pagoda_server.http.strict import Strict
from pagoda_server.http.tool_schemas import (
    MAX_TOOLS,
    AllowedChoice,
    FunctionTool,
    NamedFunction,
    NamedTool,
    Tools,
    check_tools,
    choose_tools,
)
from pagoda_server.text.nesting import MAX_DEPTH, measure
from pagoda_server.text.template import RESERVED_NAMES

MAX_TEMPLATE_MEMBERS = 1000
MAX_THINKING_TOKENS = 2**31 - 1
NO_BUDGET = -1


def _find_choice_form(value: Any) -> str:
    if not isinstance(value, dict):
        return "<word>"
    return "<allowed>" if value.get("type") == "allowed_tools" else "<tool>"


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("<word>")]
    | Annotated[NamedTool, Tag("<tool>")]
    | Annotated[AllowedChoice, Tag("<allowed>")],
    Discriminator(_find_choice_form),
]
FunctionChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("<word>")] | Annotated[NamedFunction, Tag("<tool>")],
    Discriminator(_find_choice_form),
]


class DialogFields(Strict):
    tools: Tools | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: Annotated[list[FunctionTool], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    function_call: FunctionChoice | None = None
    """These two are the old spelling of the first two; an answer then has the old shape."""
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
    thinking_token_budget: Annotated[Int, Field(ge=NO_BUDGET, le=MAX_THINKING_TOKENS)] | None = None
    """-1: as if it were left out."""

    @model_validator(mode="after")
    def _check_spelling(self) -> "DialogFields":
        if self.functions and self.tools:
            raise RequestError("functions is given beside tools; give tools alone", param="functions")
        if self.function_call not in (None, "none", "auto") and not self.functions:
            raise RequestError("function_call is given without functions; give them", param="function_call")
        return self

    @model_validator(mode="after")
    def _check_template_options(self) -> "DialogFields":
        check_template_options(self.chat_template_kwargs or {})
        return self

    @property
    def has_old_spelling(self) -> bool:
        return bool(self.functions)

    @property
    def thinking(self) -> Thinking:
        budget = self.thinking_token_budget
        return Thinking(self.reasoning_effort, None if budget == NO_BUDGET else budget)

    def build_tool_use(self) -> ToolUse:
        """Returns which tools may be called. Raises `RequestError`."""
        if self.functions:
            return self._build_old_use(self.functions)
        tools = [one.function.build() for one in self.tools or ()]
        check_tools(tools, "tools")
        mode, name, allowed = self._read_choice()
        return choose_tools(
            tools, mode=mode, name=name, allowed=allowed, parallel=self.parallel_tool_calls is not False
        )

    def _read_choice(self) -> tuple[ToolMode, str | None, list[str] | None]:
        match self.tool_choice:
            case NamedTool(function=function):
                return "required", function.name, None
            case AllowedChoice(allowed_tools=allowed):
                return allowed.mode, None, [one.function.name for one in allowed.tools]
            case None:
                return "auto", None, None
            case word:
                return word, None, None

    def _build_old_use(self, functions: list[FunctionTool]) -> ToolUse:
        tools = [one.build() for one in functions]
        check_tools(tools, "functions")
        choice, param = self.function_call, "function_call"
        if isinstance(choice, NamedFunction):
            return choose_tools(tools, mode="required", name=choice.name, parallel=False, param=param)
        return choose_tools(tools, mode=choice or "auto", parallel=False, param=param)


def check_template_options(options: dict[str, Any]) -> None:
    """Raises `RequestError` for what a client may not tell a template."""
    param = "chat_template_kwargs"
    if taken := RESERVED_NAMES & options.keys():
        raise RequestError(f"{param}.{min(taken)} is not the client's to set; remove it", param=f"{param}.{min(taken)}")
    size = measure(options)
    if size.depth > MAX_DEPTH or size.members > MAX_TEMPLATE_MEMBERS:
        raise RequestError(
            f"{param} has {size.members} members, {size.depth} deep; "
            f"give at most {MAX_TEMPLATE_MEMBERS}, {MAX_DEPTH} deep",
            param=param,
        )
