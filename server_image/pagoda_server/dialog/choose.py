"""Which notation a model has: by its chat template and its tokens, or by the name that its settings give."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches

from pagoda_server.dialog.format import Format, TaggedFormat
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.reasoning import REASONING_FORMATS, ReasoningFormat

AUTO, NONE = "auto", "none"
TOOL_PARSERS = (AUTO, NONE, *(form.name for form in TOOL_FORMATS))
"""What `engine.toolParser` may be, beside vLLM's names for the same."""
REASONING_PARSERS = (AUTO, NONE, *(form.name for form in REASONING_FORMATS))
"""What `engine.reasoningParser` may be, beside vLLM's names for the same."""
TOOL_SYNONYMS: Mapping[str, str] = {
    "qwen3_coder": "qwen3_xml",
    "nemotron_v3": "qwen3_xml",
    "glm47": "glm45",
    "qwen": "hermes",
    "qwen25": "hermes",
}
REASONING_SYNONYMS: Mapping[str, str] = {
    "qwen3": "think",
    "deepseek_r1": "think",
    "deepseek_v3": "think",
    "glm45": "think",
    "glm47": "think",
    "kimi_k2": "think",
    "minimax_m2": "think",
    "nemotron_v3": "think",
    "step3p5": "think",
    "magistral": "mistral",
}


def check_tool_parser(name: str) -> str:
    """Returns our name of a tool parser. Raises ValueError for one that is unknown."""
    return _check("engine.toolParser", name, TOOL_PARSERS, TOOL_SYNONYMS)


def check_reasoning_parser(name: str) -> str:
    """Returns our name of a reasoning parser. Raises ValueError for one that is unknown."""
    return _check("engine.reasoningParser", name, REASONING_PARSERS, REASONING_SYNONYMS)


def choose_format(
    template: str | None,
    tokens: Collection[str],
    *,
    tool_parser: str = AUTO,
    reasoning_parser: str = AUTO,
) -> Format:
    """Returns how the model writes its answers. Raises ValueError for a parser's name that is unknown.

    `tokens`: the text of the tokenizer's added tokens.
    """
    tools = choose_tool_format(template or "", tokens, check_tool_parser(tool_parser))
    reasoning = choose_reasoning_format(template or "", tokens, check_reasoning_parser(reasoning_parser))
    return TaggedFormat(tools, reasoning, knows_effort="reasoning_effort" in (template or ""))


def choose_tool_format(template: str, tokens: Collection[str], name: str) -> ToolFormat | None:
    if name == AUTO:
        return next((form for form in TOOL_FORMATS if form.is_recognised(template, tokens)), None)
    return next((form for form in TOOL_FORMATS if form.name == name), None)


def choose_reasoning_format(template: str, tokens: Collection[str], name: str) -> ReasoningFormat | None:
    if name == AUTO:
        return next((form for form in REASONING_FORMATS if form.is_recognised(template, tokens)), None)
    return next((form for form in REASONING_FORMATS if form.name == name), None)


def _check(field: str, name: str, names: Collection[str], synonyms: Mapping[str, str]) -> str:
    spelled = name.strip().lower().replace("-", "_")
    if (known := synonyms.get(spelled, spelled)) in names:
        return known
    close = get_close_matches(spelled, [*names, *synonyms], n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{field} is {name!r}, which is none of {', '.join(names)}{meant}")
