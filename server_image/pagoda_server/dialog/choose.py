"""Which notation a model has: by its chat template and its tokens, or by the name that its settings give."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from pagoda_server.dialog.format import Format, TaggedFormat
from pagoda_server.dialog.formats.deepseek import DEEPSEEK_V3
from pagoda_server.dialog.formats.generic import GENERIC
from pagoda_server.dialog.formats.glm import GLM
from pagoda_server.dialog.formats.harmony import HARMONY
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.llama_json import LLAMA_JSON
from pagoda_server.dialog.formats.nemotron import NEMOTRON
from pagoda_server.dialog.formats.pythonic import PYTHONIC
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.reasoning import GEMMA as GEMMA_THOUGHTS
from pagoda_server.dialog.reasoning import MAGISTRAL, REASONING_FORMATS, SEED, THINK, ReasoningFormat

Recognised = TypeVar("Recognised", ToolFormat, ReasoningFormat)
AUTO, NONE = "auto", "none"
TOOL_PARSERS = (AUTO, NONE, HARMONY.name, *(form.name for form in TOOL_FORMATS))
"""What `engine.toolParser` may be, beside vLLM's names for the same."""
REASONING_PARSERS = (AUTO, NONE, HARMONY.name, *(form.name for form in REASONING_FORMATS))
"""What `engine.reasoningParser` may be, beside vLLM's names for the same."""
TOOL_SYNONYMS: Mapping[str, str] = {
    "openai": HARMONY.name,
    "harmony": HARMONY.name,
    "gptoss": HARMONY.name,
    "qwen3_coder": QWEN_XML.name,
    "nemotron_v3": QWEN_XML.name,
    "step3p5": QWEN_XML.name,
    "qwen": HERMES.name,
    "qwen25": HERMES.name,
    "qwen3": HERMES.name,
    "glm47": GLM.name,
    "llama3": LLAMA_JSON.name,
    "llama4_json": LLAMA_JSON.name,
    "llama4_pythonic": PYTHONIC.name,
    "llama4": PYTHONIC.name,
    "deepseek_r1": DEEPSEEK_V3.name,
    "nemotron": NEMOTRON.name,
    "nemotron_nano_v2": NEMOTRON.name,
    "gemma": GENERIC.name,
    "gemma3": GENERIC.name,
    "json": GENERIC.name,
}
REASONING_SYNONYMS: Mapping[str, str] = {
    "openai_gptoss": HARMONY.name,
    "openai": HARMONY.name,
    "harmony": HARMONY.name,
    "gptoss": HARMONY.name,
    **dict.fromkeys(
        [
            "qwen3",
            "deepseek_r1",
            "deepseek_v3",
            "deepseek_v31",
            "glm45",
            "glm47",
            "holo2",
            "kimi_k2",
            "minimax_m2",
            "mimo",
        ],
        THINK.name,
    ),
    **dict.fromkeys(["nemotron", "nemotron_v3", "nano_v3", "step3p5", "olmo3", "ernie45"], THINK.name),
    "magistral": MAGISTRAL.name,
    "seed": SEED.name,
    "gemma": GEMMA_THOUGHTS.name,
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
    names = check_tool_parser(tool_parser), check_reasoning_parser(reasoning_parser)
    if HARMONY.name in names or (AUTO in names and HARMONY.is_recognised(template or "")):
        return HARMONY
    tools = choose_tool_format(template or "", tokens, names[0])
    reasoning = choose_reasoning_format(template or "", tokens, names[1])
    return TaggedFormat(tools, reasoning, knows_effort="reasoning_effort" in (template or ""))


def choose_tool_format(template: str, tokens: Collection[str], name: str) -> ToolFormat | None:
    if name == AUTO:
        return _recognise(TOOL_FORMATS, template, tokens)
    return next((form for form in TOOL_FORMATS if form.name == name), None)


def choose_reasoning_format(template: str, tokens: Collection[str], name: str) -> ReasoningFormat | None:
    if name == AUTO:
        return _recognise(REASONING_FORMATS, template, tokens)
    return next((form for form in REASONING_FORMATS if form.name == name), None)


def _recognise(forms: Sequence[Recognised], template: str, tokens: Collection[str]) -> Recognised | None:
    """Returns the first that the template alone is a sign of, else the first with the tokens' help.

    NB: a model trained further keeps the tokens of the one that it was, and has its own template.
    """
    by_template = (form for form in forms if not form.is_fallback and form.is_recognised(template, ()))
    return next(by_template, None) or next((form for form in forms if form.is_recognised(template, tokens)), None)


def _check(field: str, name: str, names: Collection[str], synonyms: Mapping[str, str]) -> str:
    spelled = name.strip().lower().replace("-", "_")
    if (known := synonyms.get(spelled, spelled)) in names:
        return known
    close = get_close_matches(spelled, [*names, *synonyms], n=1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{field} is {name!r}, which is none of {', '.join(names)}{meant}")
