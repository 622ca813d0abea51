"""Which notation a model has, by its template and tokens or by a name. Templates are cut to what tells them apart."""

import pytest

from pagoda_server.dialog.choose import (
    REASONING_PARSERS,
    REASONING_SYNONYMS,
    TOOL_PARSERS,
    TOOL_SYNONYMS,
    check_reasoning_parser,
    check_tool_parser,
    choose_format,
)
from pagoda_server.dialog.format import TaggedFormat
from pagoda_server.dialog.formats.harmony import HARMONY
from pagoda_server.dialog.formats.table import TOOL_FORMATS

QWEN3 = """{%- if tools %}<tools>{{ tools | tojson }}</tools>
<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>{% endif %}
{% if '</think>' in content %}{% set reasoning = content.split('</think>')[0] %}{% endif %}"""
QWEN3_CODER = "<tool_call>\\n<function=example>\\n<parameter=a>\\nvalue\\n</parameter>\\n</function>\\n</tool_call>"
GLM = "<tool_call>{name}\\n<arg_key>{key}</arg_key>\\n<arg_value>{value}</arg_value></tool_call>{{'<think></think>'}}"
LLAMA_31 = 'Respond in the format {"name": function name, "parameters": {}}. {{ "<|python_tag|>" }}'
LLAMA_4 = 'respond with JSON: {"name": function name, "parameters": {}} {{ tools }}'
LLAMA_4_PYTHONIC = "Return only [func_name1(params_name1=params_value1), func_name2(params)] {{ tools }}"
DEEPSEEK_R1 = (
    "'<｜tool▁call▁begin｜>' + type + '<｜tool▁sep｜>' + name + '\\n```json\\n' + arguments {{'<think>\\n'}}</think>"
)
DEEPSEEK_V31 = "'<｜tool▁call▁begin｜>' + name + '<｜tool▁sep｜>' + arguments {{'</think>'}}"
MISTRAL = "{{ '[TOOL_CALLS][' }}{{ tool_call.function | tojson }}"
NEMOTRON_2 = "<TOOLCALL>[{{ call }}]</TOOLCALL>{{ '<think>\\n\\n' }}</think>"
GEMMA_4 = "{{ '<|tool_call>call:' + name }}{{ '<|channel>thought\\n<channel|>' }}"
GEMMA_3 = "{{ '<start_of_turn>' + role }}{{ content }}"
GPT_OSS = "{{ '<|start|>assistant<|channel|>final<|message|>' + content }}{{ reasoning_effort }}"
SEED = "{{ '<seed:think>' }}{{ '</seed:think>' }}"


@pytest.mark.parametrize(
    ("template", "tokens", "tools", "reasoning"),
    [
        (QWEN3, ["<tool_call>", "<think>", "</think>"], "hermes", "think"),
        (QWEN3_CODER, ["<tool_call>"], "qwen3_xml", None),
        (QWEN3_CODER + "</think>", [], "qwen3_xml", "think"),
        (GLM, [], "glm45", "think"),
        (LLAMA_31, ["<|python_tag|>"], "llama3_json", None),
        (LLAMA_4, ["<|python_start|>"], "llama3_json", None),
        (LLAMA_4_PYTHONIC, ["<|python_start|>"], "pythonic", None),
        (DEEPSEEK_R1, [], "deepseek_v3", "think"),
        (DEEPSEEK_V31, [], "deepseek_v31", "think"),
        (MISTRAL, ["[TOOL_CALLS]"], "mistral", None),
        ("{{ messages }}", ["[TOOL_CALLS]", "[THINK]", "[/THINK]"], "mistral", "mistral"),
        (NEMOTRON_2, [], "nemotron_json", "think"),
        (GEMMA_4, ["<|channel>"], "gemma4", "gemma4"),
        (GEMMA_3, [], None, None),
        ("{% if tools %}{{ tools }}{% endif %}", [], "generic", None),
        (SEED, [], None, "seed_oss"),
        ("{% set start = '<minimax:tool_call>' %}{{ '<think>' }}</think>", [], "minimax_m2", "think"),
        ("{% set dsml = '｜DSML｜' %}<{{ dsml }}function_calls>{{ '</think>' }}", [], "deepseek_v32", "think"),
        ("<|tool_calls_section_begin|><|tool_call_begin|>{{ id }}<think></think>", [], "kimi_k2", "think"),
        (None, [], None, None),
    ],
)
def test_a_model_is_recognised(
    template: str | None, tokens: list[str], tools: str | None, reasoning: str | None
) -> None:
    form = choose_format(template, tokens)
    assert isinstance(form, TaggedFormat)
    assert (form.tools and form.tools.name) == tools
    assert (form.reasoning and form.reasoning.name) == reasoning


def test_a_model_trained_further_has_the_notation_of_its_template() -> None:
    form = choose_format(QWEN3, ["[TOOL_CALLS]", "<|python_tag|>"])
    assert isinstance(form, TaggedFormat)
    assert form.tools
    assert form.tools.name == "hermes"


def test_harmony_is_all_of_an_answer() -> None:
    assert choose_format(GPT_OSS, []) is HARMONY
    assert choose_format("", [], tool_parser="openai") is HARMONY
    assert choose_format("", [], reasoning_parser="openai_gptoss") is HARMONY
    assert choose_format(GPT_OSS, [], tool_parser="none", reasoning_parser="none") == TaggedFormat(
        None, None, knows_effort=True
    )


@pytest.mark.parametrize("name", [*TOOL_PARSERS, *TOOL_SYNONYMS, "Qwen3-Coder", " hermes "])
def test_a_tool_parser_may_be_called_by_any_of_its_names(name: str) -> None:
    assert check_tool_parser(name) in TOOL_PARSERS
    assert choose_format("", [], tool_parser=name)


@pytest.mark.parametrize("name", [*REASONING_PARSERS, *REASONING_SYNONYMS])
def test_a_reasoning_parser_may_be_called_by_any_of_its_names(name: str) -> None:
    assert check_reasoning_parser(name) in REASONING_PARSERS
    assert choose_format("", [], reasoning_parser=name)


def test_a_name_that_is_unknown_is_refused_with_what_was_meant() -> None:
    with pytest.raises(
        ValueError, match=r"engine.toolParser is 'hermse', which is none of .*; did you mean 'hermes'\?"
    ):
        choose_format("", [], tool_parser="hermse")
    with pytest.raises(ValueError, match="engine.reasoningParser is 'xyz', which is none of"):
        choose_format("", [], reasoning_parser="xyz")


def test_the_setting_wins_over_the_template() -> None:
    form = choose_format(QWEN3, [], tool_parser="pythonic", reasoning_parser="none")
    assert isinstance(form, TaggedFormat)
    assert (form.tools and form.tools.name, form.reasoning) == ("pythonic", None)
    assert not form.reasons
    assert form.calls


def test_names_are_unique_and_markers_are_what_a_parser_looks_for() -> None:
    names = [form.name for form in TOOL_FORMATS]
    assert len(set(names)) == len(names)
    assert not set(TOOL_SYNONYMS) & set(names)
    assert all(form.begin in form.markers for form in TOOL_FORMATS if form.begin)
