"""Models slip: a tag, a word or a bracket of a notation is left out, and the calls can be read all the same."""

import pytest

from pagoda_server.dialog.events import CallArguments, CallBegun, Event
from pagoda_server.dialog.formats.deepseek import DEEPSEEK_V31
from pagoda_server.dialog.formats.gemma import FUNCTION_GEMMA, GEMMA
from pagoda_server.dialog.formats.glm import GLM
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.invoke import DEEPSEEK_V32, MINIMAX
from pagoda_server.dialog.formats.kimi import KIMI
from pagoda_server.dialog.formats.nemotron import NEMOTRON
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML, SEED
from pagoda_server.dialog.formats.tool_format import ToolFormat
from tests.doubles.answers import TOOLS, read_pieces

OSLO_DAYS = [CallBegun(0, "get_weather"), CallArguments(0, '{"city": "Oslo", "days": 2}')]
BROKEN = [CallBegun(0, "get_weather"), CallArguments(0, '{"city": "Oslo"')]
TIME = [CallBegun(1, "get_time"), CallArguments(1, "{}")]
BEGIN, END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"

LEFT_OUT = [
    (
        QWEN_XML,
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n<parameter=days>\n2\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=get_time>\n</function>\n</tool_call>",
        [*OSLO_DAYS, *TIME],
    ),
    (
        SEED,
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Oslo\n<parameter=days>2\n</function>\n"
        "</seed:tool_call>",
        OSLO_DAYS,
    ),
    (
        GLM,
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        OSLO_DAYS,
    ),
    (
        MINIMAX,
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Oslo\n<parameter name="days">2\n'
        '</invoke>\n<invoke name="get_time">\n</invoke>\n</minimax:tool_call>',
        [*OSLO_DAYS, *TIME],
    ),
    (
        DEEPSEEK_V32,
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Oslo\n'
        '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>",
        OSLO_DAYS,
    ),
    (GEMMA, '<|tool_call>:get_weather{city:<|"|>Oslo<|"|>,days:2}<tool_call|>', OSLO_DAYS),
    (
        FUNCTION_GEMMA,
        "<start_function_call>:get_weather{city:<escape>Oslo<escape>,days:2}<end_function_call>",
        OSLO_DAYS,
    ),
    (
        KIMI,
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo"<|tool_call_end|><|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}'
        "<|tool_call_end|><|tool_calls_section_end|>",
        [*BROKEN, *TIME],
    ),
    (
        DEEPSEEK_V31,
        f'{BEGIN}get_weather{SEPARATOR}{{"city": "Oslo"{END}{BEGIN}get_time{SEPARATOR}{{}}{END}',
        [*BROKEN, *TIME],
    ),
    (
        HERMES,
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"</tool_call>\n<tool_call>\n'
        '{"name": "get_time", "arguments": {}}\n</tool_call>',
        [*BROKEN, *TIME],
    ),
    (
        NEMOTRON,
        '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Oslo"</TOOLCALL><TOOLCALL>[{"name": "get_time", '
        '"arguments": {}}]</TOOLCALL>',
        [*BROKEN, *TIME],
    ),
]


@pytest.mark.parametrize(("form", "text", "expected"), LEFT_OUT, ids=[form.name for form, _, _ in LEFT_OUT])
def test_what_is_left_out_ends_where_the_next_thing_begins(form: ToolFormat, text: str, expected: list[Event]) -> None:
    for at in range(len(text)):
        assert read_pieces(form.build_parser(TOOLS), [text[:at], text[at:]]) == expected, text[:at]
    assert read_pieces(form.build_parser(TOOLS), text) == expected


@pytest.mark.parametrize(
    "inside",
    [
        r"\n<parameter=other>\n",
        r"\n<parameter=city>\n",
        " <parameter=days>",
        r"\n</function>\n",
        r"\n</function>\n</tool_cal",
        r"\n<parameter=days",
    ],
)
def test_a_value_may_hold_tags_that_nothing_can_follow(inside: str) -> None:
    """Models write files about this very notation: only an argument that is missing yet ends the value."""
    text = inside.replace(r"\n", "\n")
    answer = f"<tool_call>\n<function=get_weather>\n<parameter=city>\na{text}b\n</parameter>\n</function>\n</tool_call>"
    arguments = f'{{"city": "a{inside}b"}}'
    assert read_pieces(QWEN_XML.build_parser(TOOLS), answer) == [
        CallBegun(0, "get_weather"),
        CallArguments(0, arguments),
    ]
