"""What a template is told beside messages: tools, variables, arguments of calls. None of it is a special token."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers

from pagoda_server.text.arguments import Arguments, build_arguments
from pagoda_server.text.nesting import change_texts, measure
from pagoda_server.text.template import RESERVED_NAMES, read_template
from pagoda_server.text.tokenizer import TemplateError, Tokenizer, build_tokenizer, read_tokenizer
from tests.doubles.tiny_models import write_tokenizer

USER = [{"role": "user", "content": "Hi"}]
TEXT = st.text(alphabet='<s>e"\\ n', max_size=8) | st.sampled_from(["<s>", "<e>", "a<s>b", "<", "s>"])
VALUE = st.recursive(TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner))


def build(template: str, tool_template: str | None = None) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = RawTokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.add_special_tokens(["<s>", "<e>"])
    return build_tokenizer(raw, template, {}, tool_template)


WALK = (
    "{% macro show(one) %}{% if one is mapping %}{% for name, value in one.items() %}{{ name }}={{ show(value) }}"
    "{% endfor %}{% elif one is string or one is number or one is none %}{{ one }}{% else %}"
    "{% for item in one %}{{ show(item) }}{% endfor %}{% endif %}{% endmacro %}"
    "<s>{{ show(tools) }}{{ show(messages) }}{{ extra | tojson }}<e>"
)


@given(VALUE, VALUE, VALUE)
def test_nothing_nested_becomes_a_special_token(tool: Any, content: Any, extra: Any) -> None:
    tokenizer = build(WALK)
    message = {"role": "user", "content": "Hi", "tool_calls": [content]}
    ids = tokenizer.encode_chat([message], {"tools": [tool], "extra": extra})
    special = [tokenizer.raw.token_to_id(name) for name in ("<s>", "<e>")]
    assert [token_id for token_id in ids if token_id in special] == special


def test_the_template_for_tools_is_used_where_there_are_tools() -> None:
    tokenizer = build("plain", "{{ tools | length }} tools")
    assert tokenizer.render_chat(USER) == "plain" == tokenizer.render_chat(USER, {"tools": []})
    assert tokenizer.render_chat(USER, {"tools": [{}]}) == "1 tools"


def test_a_folder_may_have_a_template_for_tools(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools | length }} tools")
    assert read_tokenizer(tmp_path).render_chat(USER, {"tools": [{}, {}]}) == "2 tools"


@pytest.mark.parametrize(
    "template",
    [
        "{{ a | tojson }}",
        "{{ a }}",
        "{{ '' + a }}",
        "{{ a + '' }}",
        "{{ a ~ '' }}",
        "{% if a is string %}{{ a }}{% else %}{{ a | tojson }}{% endif %}",
        "{% if a is mapping %}{{ a | tojson }}{% endif %}",
        "{ {%- for k, v in a.items() %}{{ k | tojson }}: {{ v | tojson }}{% endfor %}}",
    ],
)
def test_arguments_are_what_each_template_takes_them_for(template: str) -> None:
    tokenizer = build(template)
    assert tokenizer.render_chat(USER, {"a": build_arguments({"city": "Oslo"})}) == '{"city": "Oslo"}'


def test_arguments_joined_again_and_again_are_bounded() -> None:
    endless = "{% set ns = namespace(x='') %}{% for i in range(9000) %}{% set ns.x = ns.x + a + a %}{% endfor %}"
    with pytest.raises(TemplateError, match="too much"):
        build(endless).render_chat(USER, {"a": build_arguments({"x": "y" * 5000})})


def test_a_macro_may_be_told_any_integer() -> None:
    template = "{% macro show(one, two) %}{{ one }}{{ two }}{% endmacro %}{{ show(a.at, two=a.at) }}"
    assert build(template).render_chat(USER, {"a": {"at": 1_732_000_000}}) == "1732000000" * 2


def test_a_large_set_of_tools_is_walked_through() -> None:
    tools = [{"name": f"f{at}", "properties": {f"p{n}": {"type": "string"} for n in range(40)}} for at in range(128)]
    assert build(WALK).render_chat(USER, {"tools": tools, "extra": 1}).count("type=string") == 128 * 40


def test_what_a_template_may_be_told_is_seen() -> None:
    template = read_template("{{ messages }}{% if enable_thinking %}{{ tools }}{% endif %}{% set own = 1 %}{{ own }}")
    assert template.variables >= {"messages", "enable_thinking", "tools"} and "own" not in template.variables
    assert template.takes_tools and not read_template("{{ messages }}").takes_tools
    assert {"messages", "tools", "raise_exception", "bos_token"} <= RESERVED_NAMES


def test_sizes_are_those_of_all_that_is_nested() -> None:
    value = {"a": ["bc", {"d": 1}], "ee": None}
    assert (measure(value).characters, measure(value).members, measure(value).depth) == (6, 5, 3)
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    assert measure(deep).depth == 5000
    assert change_texts(Arguments({"a": "b"}, "ab"), str.upper) == {"A": "B"}
