"""Calls in models' own notations, as their documentation and templates write them."""

import json

import pytest

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event
from pagoda_server.dialog.formats.deepseek import DEEPSEEK_V3, DEEPSEEK_V31
from pagoda_server.dialog.formats.gemma import FUNCTION_GEMMA, GEMMA
from pagoda_server.dialog.formats.generic import GENERIC
from pagoda_server.dialog.formats.glm import GLM
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.invoke import DEEPSEEK_V32, MINIMAX
from pagoda_server.dialog.formats.kimi import KIMI
from pagoda_server.dialog.formats.llama_json import LLAMA_JSON
from pagoda_server.dialog.formats.mistral import MISTRAL
from pagoda_server.dialog.formats.nemotron import NEMOTRON
from pagoda_server.dialog.formats.pythonic import PYTHONIC
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML, SEED
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.turn import Tool
from tests.doubles.answers import TIME, TOOLS, WEATHER, read_pieces

SEARCH = Tool(
    "search",
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "note": {"type": ["string", "null"]},
            "exact": {"type": "boolean"},
            "filter": {"$ref": "#/$defs/Filter"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "$defs": {"Filter": {"type": "object", "properties": {"year": {"type": "number"}}}},
    },
)
ALL = (*TOOLS, SEARCH)


def call(index: int, name: str, arguments: str) -> list[Event]:
    return [CallBegun(index, name), *([CallArguments(index, arguments)] if arguments else [])]


def calls(*pairs: tuple[str, str]) -> list[Event]:
    return [event for index, (name, arguments) in enumerate(pairs) for event in call(index, name, arguments)]


OSLO = '{"city": "Oslo"}'
OSLO_CALL, TIME_CALL = ("get_weather", OSLO), ("get_time", "{}")
OSLO_DAYS = ("get_weather", '{"city": "Oslo", "days": 2}')
OSLO_OBJECT, TIME_OBJECT = f'{{"name": "get_weather", "arguments": {OSLO}}}', '{"name": "get_time", "arguments": {}}'
OSLO_PARAMETERS, TIME_PARAMETERS = (text.replace("arguments", "parameters") for text in (OSLO_OBJECT, TIME_OBJECT))
SAID = Content("Let me look.")
CALLS, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
BEGIN, END, SEPARATOR = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"

HERMES_ANSWERS = [
    (f"<tool_call>\n{OSLO_OBJECT}\n</tool_call>", calls(OSLO_CALL)),
    (
        f"Let me look.\n\n<tool_call>\n{OSLO_OBJECT}\n</tool_call>\n<tool_call>\n{TIME_OBJECT}\n</tool_call>\n",
        [SAID, *calls(OSLO_CALL, TIME_CALL)],
    ),
    (f'<tool_call>{{"arguments": {OSLO}, "name": "get_weather"}}</tool_call>', calls(OSLO_CALL)),
    ('<tool_call>{"name": "get_time"}</tool_call>', calls(TIME_CALL)),
    ('<tool_call>{"name": "get_time", "arguments": null}</tool_call>', calls(TIME_CALL)),
    (
        r'<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"\u004fslo\"}"}</tool_call>',
        calls(OSLO_CALL),
    ),
    (
        '<tool_call>{"name": "f", "arguments": {"a": "</tool_call> \\"}{", "b": [{"c": []}]}}</tool_call>',
        calls(("f", '{"a": "</tool_call> \\"}{", "b": [{"c": []}]}')),
    ),
    (
        '<tool_call>{"id": "7", "name": "f", "arguments": {}, "x": [1]}</tool_call>ok',
        [*calls(("f", "{}")), Content("ok")],
    ),
]
QWEN_ANSWERS = [
    (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        calls(OSLO_DAYS),
    ),
    (
        "Let me look.\n<function=get_time>\n</function>\n<tool_call><function=get_weather><parameter=city>Oslo"
        "</parameter></function></tool_call>",
        [SAID, *calls(TIME_CALL, OSLO_CALL)],
    ),
    (
        '<function=search>\n<parameter=query>\na "b"\n<c>\n\n</parameter>\n<parameter=limit>\nnull\n</parameter>\n'
        "<parameter=note>\nnullify\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n<parameter=filter>\n"
        '{"year": 2.5}\n</parameter>\n<parameter=tags>\n[\'a\', "b"]\n</parameter>\n</function>',
        calls(
            (
                "search",
                r'{"query": "a \"b\"\n<c>\n", "limit": null, "note": "nullify", "exact": true, '
                '"filter": {"year": 2.5}, "tags": ["a", "b"]}',
            )
        ),
    ),
    (
        '<function=search><parameter=tags>["</parameter>", "a"]</parameter></function>',
        calls(("search", '{"tags": ["</parameter>", "a"]}')),
    ),
    ('<function=search><parameter=tags>["a</parameter></function>', calls(("search", r'{"tags": "[\"a"}'))),
]
GLM_ANSWERS = [
    (
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        calls(OSLO_DAYS),
    ),
    (
        "Let me look.<tool_call>get_time</tool_call><tool_call>get_weather<arg_key>city</arg_key><arg_value>12"
        "</arg_value></tool_call>",
        [SAID, *calls(TIME_CALL, ("get_weather", '{"city": "12"}'))],
    ),
]
LLAMA_ANSWERS = [
    (OSLO_PARAMETERS, calls(OSLO_CALL)),
    (f'<|python_tag|>{{"type": "function", {OSLO_PARAMETERS[1:]}', calls(OSLO_CALL)),
    (f"<|python_start|>{OSLO_PARAMETERS}<|python_end|>", calls(OSLO_CALL)),
    ('<|python_start|>[get_weather(city="Oslo"), get_time()]<|python_end|>', calls(OSLO_CALL, TIME_CALL)),
    (f"{OSLO_PARAMETERS}; {TIME_PARAMETERS}", calls(OSLO_CALL, TIME_CALL)),
    (f"Let me look.\n{OSLO_PARAMETERS}", [SAID, *calls(OSLO_CALL)]),
    ('{"name": "unknown", "parameters": {}}', calls(("unknown", "{}"))),
]
PYTHONIC_ANSWERS = [
    ('[get_weather(city="Oslo"), get_time()]', calls(OSLO_CALL, TIME_CALL)),
    ("<|python_start|>[get_weather(city='Oslo', days=2)]<|python_end|>", calls(OSLO_DAYS)),
    (
        "[search(query='it\\'s\\n\"x\"', exact=True, limit=None, filter={'year': 2.5, 'a': (1, [-2,],)}, tags=[])]",
        calls(
            (
                "search",
                r'{"query": "it'
                "'"
                r's\n\"x\"", "exact": true, "limit": null, "filter": {"year": 2.5, "a": [1, [-2]]}, "tags": []}',
            )
        ),
    ),
    ("Let me look.\n[get_time()]\n", [SAID, *calls(TIME_CALL)]),
]
MISTRAL_ANSWERS = [
    (f"[TOOL_CALLS][{OSLO_OBJECT}, {TIME_OBJECT}]", calls(OSLO_CALL, TIME_CALL)),
    (f'[TOOL_CALLS] [{OSLO_OBJECT[:-1]}, "id": "abcdefghi"}}]', calls(OSLO_CALL)),
    (
        f"Let me look.[TOOL_CALLS]get_weather[ARGS]{OSLO}[TOOL_CALLS]get_time[ARGS]{{}}",
        [SAID, *calls(OSLO_CALL, TIME_CALL)],
    ),
    (f"[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{OSLO}", calls(OSLO_CALL)),
    (f"[TOOL_CALLS]get_weather{OSLO}", calls(OSLO_CALL)),
]
DEEPSEEK_V3_ANSWERS = [
    (
        f"{CALLS}{BEGIN}function{SEPARATOR}get_weather\n```json\n{OSLO}\n```{END}\n"
        f"{BEGIN}function{SEPARATOR}get_time\n```json\n{{}}\n```{END}{CALLS_END}",
        calls(OSLO_CALL, TIME_CALL),
    ),
]
DEEPSEEK_V31_ANSWERS = [
    (
        f"Let me look.{CALLS}{BEGIN}get_weather{SEPARATOR}{OSLO}{END}{BEGIN}get_time{SEPARATOR}{{}}{END}{CALLS_END}",
        [SAID, *calls(OSLO_CALL, TIME_CALL)],
    ),
]
GEMMA_ANSWERS = [
    (
        '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>,days:2}<tool_call|><|tool_call>call:get_time{}<tool_call|>',
        calls(OSLO_DAYS, TIME_CALL),
    ),
    (
        '<|tool_call>call:search{exact:true,filter:{year:2.5},limit:null,query:<|"|>a "b", {c}<|"|>,'
        'tags:[<|"|>x<|"|>,<|"|>y<|"|>]}<tool_call|>',
        calls(
            (
                "search",
                r'{"exact": true, "filter": {"year": 2.5}, "limit": null, "query": "a \"b\", {c}", "tags": ["x", "y"]}',
            )
        ),
    ),
]
FUNCTION_GEMMA_ANSWERS = [
    ("<start_function_call>call:get_weather{city:<escape>Oslo<escape>}<end_function_call>", calls(OSLO_CALL)),
]
NEMOTRON_ANSWERS = [
    (f"Let me look.\n\n<TOOLCALL>[{OSLO_OBJECT}, {TIME_OBJECT}]</TOOLCALL>", [SAID, *calls(OSLO_CALL, TIME_CALL)]),
]
SEED_ANSWERS = [
    (
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Oslo</parameter>\n<parameter=days>2</parameter>\n"
        "</function>\n</seed:tool_call>",
        calls(OSLO_DAYS),
    ),
]
MINIMAX_ANSWERS = [
    (
        'Let me look.\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n'
        '<parameter name="days">2</parameter>\n</invoke>\n<invoke name="get_time">\n</invoke>\n</minimax:tool_call>',
        [SAID, *calls(OSLO_DAYS, TIME_CALL)],
    ),
]
DEEPSEEK_V32_ANSWERS = [
    (
        'Let me look.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n'
        '<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        [SAID, *calls(OSLO_DAYS)],
    ),
]
KIMI_ANSWERS = [
    (
        f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{OSLO}"
        "<|tool_call_end|><|tool_call_begin|>functions.get_time:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
        "<|tool_calls_section_end|>",
        calls(OSLO_CALL, TIME_CALL),
    ),
]
GENERIC_ANSWERS = [
    (OSLO_PARAMETERS, calls(OSLO_CALL)),
    (f"Let me look.\n```json\n{OSLO_OBJECT}\n```\n", [SAID, *calls(OSLO_CALL)]),
    (f"[{OSLO_OBJECT}, {TIME_OBJECT}]", calls(OSLO_CALL, TIME_CALL)),
    ('```tool_code\nget_weather(city="Oslo")\n```', calls(OSLO_CALL)),
    ('```tool_code\nprint(get_weather(city="Oslo"))\n```', calls(OSLO_CALL)),
    (f"<tool_call>{OSLO_OBJECT}</tool_call>", calls(OSLO_CALL)),
]
ANSWERS: list[tuple[ToolFormat, list[tuple[str, list[Event]]]]] = [
    (HERMES, HERMES_ANSWERS),
    (QWEN_XML, QWEN_ANSWERS),
    (GLM, GLM_ANSWERS),
    (LLAMA_JSON, LLAMA_ANSWERS),
    (PYTHONIC, PYTHONIC_ANSWERS),
    (MISTRAL, MISTRAL_ANSWERS),
    (DEEPSEEK_V3, DEEPSEEK_V3_ANSWERS),
    (DEEPSEEK_V31, DEEPSEEK_V31_ANSWERS),
    (GEMMA, GEMMA_ANSWERS),
    (FUNCTION_GEMMA, FUNCTION_GEMMA_ANSWERS),
    (NEMOTRON, NEMOTRON_ANSWERS),
    (SEED, SEED_ANSWERS),
    (MINIMAX, MINIMAX_ANSWERS),
    (DEEPSEEK_V32, DEEPSEEK_V32_ANSWERS),
    (KIMI, KIMI_ANSWERS),
    (GENERIC, GENERIC_ANSWERS),
]
WHOLE = [(form, text, expected) for form, answers in ANSWERS for text, expected in answers]

NO_CALLS = [
    (HERMES, "2 <tool_cal"),
    (HERMES, "<tool_call>\n not JSON </tool_call>"),
    (HERMES, '<tool_call>{"nom": 1}</tool_call> x'),
    (HERMES, '<tool_call>{"name": "get_wea'),
    (HERMES, "<tool_call>" * 3),
    (QWEN_XML, "<tool_call>\n<fun>"),
    (QWEN_XML, "a <function= b"),
    (GLM, "<tool_call>two words<arg_key>"),
    (LLAMA_JSON, '{"name": "Ada", "age": 36}'),
    (LLAMA_JSON, 'So: {"name": "get_weather", "parameters": {}}'),
    (LLAMA_JSON, 'So:\n{"name": "unknown", "parameters": {}}'),
    (PYTHONIC, "[link](https://example.org) [get_time()"),
    (PYTHONIC, "[1, 2, 3]"),
    (PYTHONIC, "so [get_time()]"),
    (MISTRAL, "[TOOL_CALLS] nothing"),
    (DEEPSEEK_V3, f"{BEGIN}function only"),
    (GEMMA, "<|tool_call>cal:x{}"),
    (NEMOTRON, "<TOOLCALL>[1]</TOOLCALL>"),
    (MINIMAX, '<minimax:tool_call> <invoke nam="x">'),
    (KIMI, "<|tool_call_begin|>functions.f:0"),
    (GENERIC, '{"name": "unknown", "arguments": {}}'),
    (GENERIC, "```json\n[1, 2]\n```"),
    (GENERIC, "```tool_code\nprint(1)\n```"),
]

BROKEN_OFF = [
    (HERMES, '<tool_call>{"name": "get_weather"', calls(("get_weather", ""))),
    (HERMES, '<tool_call>{"name": "get_weather", "arguments": {"city": "Os', calls(("get_weather", '{"city": "Os'))),
    (QWEN_XML, "<tool_call>\n<function=get_weather>\n<parameter=city>\nOs", calls(("get_weather", '{"city": "Os'))),
    (QWEN_XML, "<function=search>\n<parameter=tags>\n[1, ", calls(("search", '{"tags": [1, '))),
    (GLM, "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Os", calls(("get_weather", '{"city": "Os'))),
    (LLAMA_JSON, '{"name": "get_weather", "parameters": {"city"', calls(("get_weather", '{"city"'))),
    (PYTHONIC, "[get_weather(city='Os", calls(("get_weather", '{"city": "Os'))),
    (MISTRAL, '[TOOL_CALLS]get_weather[ARGS]{"ci', calls(("get_weather", '{"ci'))),
    (DEEPSEEK_V31, f'{BEGIN}get_weather{SEPARATOR}{{"ci', calls(("get_weather", '{"ci'))),
    (MINIMAX, '<invoke name="get_weather"><parameter name="city">Os', calls(("get_weather", '{"city": "Os'))),
    (GEMMA, '<|tool_call>call:get_weather{city:<|"|>Os', calls(("get_weather", '{"city": "Os'))),
]


@pytest.mark.parametrize(("form", "text", "expected"), [*WHOLE, *BROKEN_OFF])
def test_calls_are_read_wherever_their_text_is_cut(form: ToolFormat, text: str, expected: list[Event]) -> None:
    assert read_pieces(form.build_parser(ALL), [text]) == expected
    assert read_pieces(form.build_parser(ALL), text) == expected
    for at in range(1, len(text)):
        assert read_pieces(form.build_parser(ALL), [text[:at], text[at:]]) == expected, text[:at]


@pytest.mark.parametrize(("form", "text", "expected"), WHOLE)
def test_arguments_of_whole_calls_are_json(form: ToolFormat, text: str, expected: list[Event]) -> None:
    for event in read_pieces(form.build_parser(ALL), [text]):
        if isinstance(event, CallArguments):
            assert isinstance(json.loads(event.text), dict)


@pytest.mark.parametrize(("form", "text"), NO_CALLS)
def test_what_is_no_call_is_content_to_the_last_character(form: ToolFormat, text: str) -> None:
    assert read_pieces(form.build_parser(ALL), [text]) == [Content(text)]
    assert read_pieces(form.build_parser(ALL), text) == [Content(text)]


@pytest.mark.parametrize("form", TOOL_FORMATS, ids=lambda form: form.name)
def test_the_example_of_a_notation_is_read_by_its_own_parser(form: ToolFormat) -> None:
    events = read_pieces(form.build_parser(TOOLS), [form.example])
    assert [event.name for event in events if isinstance(event, CallBegun)] == [WEATHER.name]


@pytest.mark.parametrize("form", TOOL_FORMATS, ids=lambda form: form.name)
def test_text_without_a_mark_is_passed_on_at_once_but_for_blanks(form: ToolFormat) -> None:
    parser = form.build_parser(TOOLS)
    said = [event for piece in ("Hello", " to", " you.") for event in parser.push(piece)]
    assert said == [Content("Hello"), Content(" to"), Content(" you.")]


@pytest.mark.parametrize(
    ("form", "before", "piece"),
    [
        (HERMES, '<tool_call>{"name": "get_weather", "arguments": {"city": "', "Os"),
        (QWEN_XML, "<function=get_weather><parameter=city>", "Os"),
        (GLM, "<tool_call>get_weather<arg_key>city</arg_key><arg_value>", "Os"),
        (PYTHONIC, "[get_weather(city='", "Os"),
        (GEMMA, '<|tool_call>call:get_weather{city:<|"|>', "Os"),
    ],
)
def test_the_name_and_then_arguments_come_while_the_model_writes(form: ToolFormat, before: str, piece: str) -> None:
    parser = form.build_parser(TOOLS)
    assert CallBegun(0, WEATHER.name) in parser.push(before)
    [event] = parser.push(piece)
    assert isinstance(event, CallArguments)
    assert event.text.endswith(piece)


def test_an_object_that_is_no_call_is_passed_on_once_that_is_certain() -> None:
    parser = LLAMA_JSON.build_parser(TOOLS)
    parser.push('{"summary": "' + "x" * 300)
    assert parser.push("y") == [Content("y")]


def test_a_function_that_nobody_offered_is_a_call_all_the_same() -> None:
    text = '<tool_call>{"name": "nothing_like_it", "arguments": {}}</tool_call>'
    assert read_pieces(HERMES.build_parser([TIME]), [text]) == calls(("nothing_like_it", "{}"))


def test_a_value_that_cannot_be_what_the_schema_says_is_a_string() -> None:
    text = "<function=get_weather><parameter=days>two</parameter></function>"
    assert read_pieces(QWEN_XML.build_parser(TOOLS), text) == calls(("get_weather", '{"days": "two"}'))
