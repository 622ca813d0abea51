"""Tools and the calls of them, as clients of chat completions write them: in the request and in the history."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from pagoda_server.dialog.turn import Tool, ToolMode, ToolUse
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import always
from pagoda_server.http.strict import Strict
from pagoda_server.text.arguments import BROKEN, Arguments, build_arguments
from pagoda_server.text.nesting import MAX_DEPTH, measure

MAX_TOOLS = 128
MAX_NAME_CHARACTERS = 128
MAX_TOOL_MEMBERS = 20_000
"""The maximum for all tools together: a template walks through each."""
MAX_CALLS = 128
"""The maximum number of calls in one message of the history."""
MAX_ID_CHARACTERS = 256
NAME_PATTERN = r"^[a-zA-Z0-9_-]+$"

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS, pattern=NAME_PATTERN)]
CalledName = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
"""Of a call in the history. NB: a model may have called what is no name."""
CallId = Annotated[str, Field(max_length=MAX_ID_CHARACTERS)]


class FunctionTool(Strict):
    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def build(self) -> Tool:
        return Tool(self.name, self.description or "", self.parameters or {}, strict=bool(self.strict))


class ToolDefinition(Strict):
    unbuilt = {"cache_control": always}
    type: Literal["function"] = "function"
    function: FunctionTool


class NamedFunction(Strict):
    name: Name


class NamedTool(Strict):
    type: Literal["function"] = "function"
    function: NamedFunction


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True)]


class AllowedChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


class CalledFunction(Strict):
    unbuilt = {"parsed_arguments": always, "strict": always}
    name: CalledName
    arguments: str | dict[str, Any] | None = None


class ToolCall(Strict):
    unbuilt = {"index": always, "extra_content": always, "cache_control": always}
    id: CallId | None = None
    type: Literal["function"] | None = "function"
    function: CalledFunction

    def for_template(self) -> dict[str, Any]:
        named = {} if self.id is None else {"id": self.id}
        arguments = read_arguments(self.function.arguments)
        return {**named, "type": "function", "function": {"name": self.function.name, "arguments": arguments}}


ToolCalls = Annotated[list[ToolCall], Field(max_length=MAX_CALLS, fail_fast=True)]
Tools = Annotated[list[ToolDefinition], Field(max_length=MAX_TOOLS, fail_fast=True)]


def read_arguments(written: str | Mapping[str, Any] | None) -> Arguments:
    """Returns the arguments of a call in the history, whatever was written: a model may have written anything."""
    if isinstance(written, Mapping):
        return build_arguments(dict(written)) if measure(written).depth <= MAX_DEPTH else build_arguments({})
    if not written or written.isspace():
        return Arguments({}, "{}")
    try:
        value = orjson.loads(written)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict) or measure(value).depth > MAX_DEPTH:
        return Arguments({BROKEN: written}, written)
    return Arguments(value, written)


def describe_tool(tool: Tool) -> dict[str, Any]:
    """Returns the tool as templates expect it. NB: some fail where one of these is missing."""
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    function = {"name": tool.name, "description": tool.description, "parameters": parameters}
    return {"type": "function", "function": function}


def check_tools(tools: Sequence[Tool], param: str) -> None:
    """Raises `RequestError` for tools that no template and no grammar could take."""
    seen: set[str] = set()
    for at, tool in enumerate(tools):
        if tool.name in seen:
            raise _refuse(
                f"{param}[{at}] has the name {tool.name!r} of another tool; give each a name of its own", param
            )
        seen.add(tool.name)
        kind = tool.parameters.get("type")
        if kind not in (None, "object") and kind != ["object"]:
            raise _refuse(f'{param}[{at}].parameters is not the schema of an object; give "type": "object"', param)
    size = measure([tool.parameters for tool in tools])
    if size.depth > MAX_DEPTH:
        raise _refuse(f"{param} is nested {size.depth} deep; give at most {MAX_DEPTH}", param)
    if size.members > MAX_TOOL_MEMBERS:
        raise _refuse(f"{param} has {size.members} members in its schemas; give at most {MAX_TOOL_MEMBERS}", param)


def choose_tools(
    tools: Sequence[Tool],
    *,
    mode: ToolMode,
    name: str | None = None,
    allowed: Sequence[str] | None = None,
    parallel: bool = True,
    param: str = "tool_choice",
) -> ToolUse:
    """Returns which tools may be called. Raises `RequestError` for a choice of what is not there."""
    known = {tool.name for tool in tools}
    for chosen in [*([name] if name is not None else []), *(allowed or ())]:
        if chosen not in known:
            raise _refuse(f"{param} names {chosen!r}, which is not among the tools; add it or choose another", param)
    if mode == "required" and not tools:
        raise _refuse(f"{param} is required, but there are no tools; give some or remove it", param)
    if allowed is not None:
        tools = [tool for tool in tools if tool.name in allowed]
    return ToolUse(tuple(tools), mode, name, parallel)


def _refuse(message: str, param: str) -> RequestError:
    return RequestError(message, param=param, code="invalid_value")
