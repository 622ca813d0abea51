"""A chat template that loops for ever or builds gigabytes is refused in words, whatever it is made of."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models

from pagoda_server.text.tokenizer import TemplateError, build_tokenizer

DOUBLED = "{% set ns = namespace(x=START) %}{% for i in range(100) %}{% set ns.x = STEP %}{% endfor %}"
ENDLESS = [
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "{% for i in range(9000) %}{% for j in range(9000) if false %}{% endfor %}{% endfor %}",
    "{% for i in range(9000) recursive %}{{ loop(range(9000)) }}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(100) }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% for i in range(40000) %}{% if 'b' in 'a' * 100000 %}{% endif %}{% endfor %}",
]
EXPLODING = [
    "{{ 'a' * 10**10 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ [0] * 10**10 }}",
    "{{ 'a' | center(10**10) }}",
    "{{ 'a'.ljust(10**10) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%*d' | format(10**9, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10**9) }}",
    "{{ ('a' * 99999).replace('a', 'b' * 99999) }}",
    "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "{{ ('a' * 99999).join('b' * 99999) }}",
    "{{ ('b' * 99999) | join('a' * 99999) }}",
    "{{ ('a\\n' * 9999) | indent(99999) }}",
    "{{ ('\\t' * 9999).expandtabs(99999) }}",
    "{{ [1] | tojson(indent=10**9) }}",
    "{{ (1).to_bytes(10**9, 'big') }}",
    "{{ range(9999) | map('string') | map('center', 99999) | list }}",
    "{{ 1.5 | round(10**9, 'ceil') }}",
    "{{ lipsum(10**6) }}",
    "{% set x %}{% for i in range(9999) %}" + "y" * 9999 + "{% endfor %}{% endset %}",
    "{% filter replace('a', 'b' * 99999) %}" + "a" * 9999 + "{% endfilter %}",
    DOUBLED.replace("START", "'ab'").replace("STEP", "ns.x ~ ns.x"),
    DOUBLED.replace("START", "'ab'").replace("STEP", "ns.x + ns.x"),
    DOUBLED.replace("START", "[1]").replace("STEP", "[ns.x, ns.x]"),
    DOUBLED.replace("START", "[1]").replace("STEP", "(ns.x, ns.x)"),
    DOUBLED.replace("START", "[1]").replace("STEP", "{'a': ns.x, 'b': ns.x}"),
    DOUBLED.replace("START", "[1]").replace("STEP", "dict(a=ns.x, b=ns.x)"),
]
FAILING = [
    "{{ 1 / 0 }}",
    "{{ x.y.z }}",
    "{{ messages[0].nothing.more }}",
    "{% include 'x' %}",
    "{{ raise_exception('no') }}",
    "{% for m in messages recursive %}{{ loop(messages) }}{% endfor %}",
    "{{ 1 + 'a' }}",
    "{{ [{}, 1] | sort }}",
]


def render(template: str, *contents: str) -> str:
    tokenizer = build_tokenizer(RawTokenizer(models.WordLevel({"?": 0}, unk_token="?")), template, {})
    return tokenizer.render_chat([{"role": "user", "content": content} for content in contents])


@pytest.mark.parametrize("template", ENDLESS + EXPLODING + FAILING)
def test_a_template_that_cannot_be_rendered_is_a_template_error(template: str) -> None:
    with pytest.raises(TemplateError, match="the model's chat template") as caught:
        render(template, "Hi")
    assert len(str(caught.value)) < 400


def test_a_long_chat_of_long_messages_is_rendered() -> None:
    template = (
        "{% set first = messages[0].content %}{% for m in messages[1:] %}"
        "{% if m.role == 'user' and m.content is string %}"
        "{{ '<' ~ m.role ~ '>' + m.content | trim + '\\n' }}{% endif %}{% endfor %}"
    )
    contents = ["x" * 1000] * 4000
    assert render(template, *contents) == ("<user>" + "x" * 1000 + "\n") * 3999


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for a, b in [(1, 2), (3, 4)] %}{{ a }}{{ b }}{% endfor %}", "1234"),
        ("{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.last }}{% endfor %}", "1True"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}", "Hi"),
        ("{% set x, y = 1, [2] %}{{ x ~ y ~ '%02d' % 3 ~ '{:>3}'.format(4) }}", "1[2]03  4"),
        (
            "{% for m in messages %}{% continue %}{{ m }}{% endfor %}{{ messages[-1:] | length }}",
            "1",
        ),
        ("{{ messages[0] | tojson(indent=1) }}", '{\n "role": "user",\n "content": "Hi"\n}'),
        ("{% macro say(x, y='!') %}{{ x }}{{ y }}{% endmacro %}{{ say('a') + say('b', y='?') }}", "a!b?"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x | upper }}{{ none }}{{ missing }}", "A1None"),
        ("{% for k, v in messages[0].items() %}{{ k }}{% endfor %}{{ range(3) | list }}", "rolecontent[0, 1, 2]"),
        ("{{ messages | reverse | list | length }}{{ 'a,b'.split(',') }}", "1['a', 'b']"),
    ],
)
def test_a_counted_template_says_what_it_says_in_jinja(template: str, text: str) -> None:
    assert render(template, "Hi") == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(["range(999)", "messages", "'a' * 999", "ns", "loop", "1 / 2", "[1]"]), max_size=4))
def test_any_template_renders_or_is_a_template_error(names: list[str]) -> None:
    body: Any = "{{ ns.x ~ loop }}"
    for name in names:
        body = f"{{% for i in {name} %}}{body}{{% set ns.x = [ns.x, {name}] %}}{{% endfor %}}"
    try:
        render("{% set ns = namespace(x=1) %}" + body, "Hi")
    except TemplateError as error:
        assert "the model's chat template" in str(error)
