"""Whatever a model writes: no parser raises, none depends on how the text is cut, nothing is lost or held for long."""

import json
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagoda_server.dialog.events import AnswerParser, CallArguments, CallBegun, Content, Event, Reasoning
from pagoda_server.dialog.feed import Feed, Reading
from pagoda_server.dialog.format import Format, TaggedFormat
from pagoda_server.dialog.formats.harmony import HARMONY
from pagoda_server.dialog.formats.hermes import HERMES
from pagoda_server.dialog.formats.qwen_xml import QWEN_XML
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.parser import ReadingParser
from pagoda_server.dialog.reasoning import REASONING_FORMATS, THINK
from pagoda_server.dialog.turn import Tool, ToolUse, Turn
from pagoda_server.dialog.writer import Writer
from tests.doubles.answers import TOOLS, read_pieces

Build = Callable[[], AnswerParser]
SEARCH = Tool("search", parameters={"properties": {"q": {"type": ["string", "null"]}, "n": {"type": "array"}}})
OFFERED = [*TOOLS, SEARCH]


def build_all() -> dict[str, Build]:
    builds: dict[str, Build] = {form.name: partial(form.build_parser, OFFERED) for form in TOOL_FORMATS}
    builds["harmony"] = partial(HARMONY.build_parser, OFFERED, "<|start|>assistant")
    for form in REASONING_FORMATS:
        builds[f"{form.name} before"] = partial(form.build_parser, "before")
        builds[f"{form.name} inside"] = partial(form.build_parser, "inside", ["<tool_call>"])
    return builds


BUILDS = build_all()
MARKS = sorted({mark for form in (*TOOL_FORMATS, *REASONING_FORMATS, HARMONY) for mark in form.markers})
PIECES = [
    *MARKS,
    *("<function=", "get_weather", ">", "</function>", "<parameter=", "city>", "</parameter>", "search", "q>", "n>"),
    *('{"name": "get_weather"', ', "arguments": ', '"parameters": ', '{"city": "Oslo"}', "{", "}", "[", "]", '"', "'"),
    *(",", ":", "=", "(", ")", ";", "\\", "\\u", "d83d", "\\n", "1", "-2.5", "null", "None", "True", "tru", "call:"),
    *("get_weather(city=", "get_time()", "```json", "```tool_code", "```", "function", "thought", "analysis", "final"),
    *(" to=functions.get_time", "commentary", " ", "\n", "\n\n", " " * 300, "é", "😀", "x" * 300),
]
EXAMPLES = [form.example for form in (*TOOL_FORMATS, HARMONY)]
SLICES = st.tuples(st.sampled_from(EXAMPLES), st.integers(0, 60), st.integers(0, 120)).map(
    lambda one: one[0][one[1] : one[2]]
)
ANSWERS = st.lists(st.sampled_from([*PIECES, *EXAMPLES]) | SLICES | st.text(max_size=5), max_size=15)


def read_recut(build: Build, pieces: Sequence[str], cuts: Sequence[int]) -> list[Event]:
    text, at, cut = "".join(pieces), 0, []
    for size in cuts:
        cut.append(text[at : at + size])
        at += size
    return read_pieces(build(), [*cut, text[at:]])


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@settings(max_examples=40)
@given(pieces=ANSWERS, cuts=st.lists(st.integers(1, 40), max_size=20))
def test_events_do_not_depend_on_how_an_answer_is_cut(build: Build, pieces: list[str], cuts: list[int]) -> None:
    whole = read_pieces(build(), ["".join(pieces)])
    assert read_pieces(build(), pieces) == whole
    assert read_recut(build, pieces, cuts) == whole
    assert read_pieces(build(), "".join(pieces)) == whole


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@settings(max_examples=40)
@given(pieces=ANSWERS)
def test_calls_are_numbered_and_arguments_belong_to_the_last_one(build: Build, pieces: list[str]) -> None:
    begun = 0
    for event in read_pieces(build(), pieces):
        if isinstance(event, CallBegun):
            assert event.index == begun
            assert event.name
            begun += 1
        elif isinstance(event, CallArguments):
            assert event.index == begun - 1
            assert event.text


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@settings(max_examples=40)
@given(text=st.text(alphabet="ab ,.?\né😀", max_size=200))
def test_an_answer_without_marks_comes_out_as_it_is(build: Build, text: str) -> None:
    events = read_pieces(build(), text)
    kinds = {type(event) for event in events}
    assert kinds <= {Content} or kinds <= {Reasoning}
    said = "".join(event.text for event in events if isinstance(event, Content | Reasoning))
    assert said.strip() == text.strip()
    assert said == text or kinds <= {Reasoning}


SIGNS = ["<function=", "<parameter=", ">", "{", "[", "(", "\n", " ", "call:"]
LOSSLESS = {name: build for name, build in BUILDS.items() if name != "harmony"}
"""The heads of harmony's messages say nothing to a client, whatever is in them."""


@pytest.mark.parametrize("build", LOSSLESS.values(), ids=LOSSLESS)
@settings(max_examples=60)
@given(
    pieces=st.lists(
        st.sampled_from([*MARKS, "<function=", "<parameter=", ">", "{", "[", "(", "\n", " ", "call:"]), max_size=12
    )
)
def test_no_word_is_lost_among_marks(build: Build, pieces: list[str]) -> None:
    words = [f"w{at}w" for at in range(len(pieces) + 1)]
    text = words[0] + "".join(piece + word for piece, word in zip(pieces, words[1:], strict=True))
    said = "".join(event.name if isinstance(event, CallBegun) else event.text for event in read_pieces(build(), [text]))
    assert [word for word in words if word not in said] == []


def read_watched(form: ToolFormat, text: str) -> tuple[int, int]:
    """Returns how many characters were held at most, and how many were read more than once."""
    feeds: list[Feed] = []

    def read(feed: Feed, writer: Writer) -> Reading[None]:
        feeds.append(feed)
        yield from form.read(feed, writer, OFFERED)

    parser, held = ReadingParser(read), 0
    for char in text:
        parser.push(char)
        held = max(held, feeds[0].num_held)
    parser.finish()
    return held, feeds[0].num_reread


@pytest.mark.parametrize("form", TOOL_FORMATS, ids=lambda form: form.name)
@settings(max_examples=10)
@given(pieces=st.lists(st.sampled_from([*PIECES, *EXAMPLES]), min_size=1, max_size=6))
def test_what_is_held_and_read_again_is_bounded_however_often_a_text_repeats(
    form: ToolFormat, pieces: list[str]
) -> None:
    text = ("".join(pieces) * 40)[:6_000]
    held, reread = read_watched(form, text)
    assert held <= 20_000
    assert reread <= 70_000 + 32 * len(text)


def test_arguments_before_a_name_are_held_only_so_long() -> None:
    text = '<tool_call>{"arguments": ["' + "x" * 20_000
    held, _ = read_watched(HERMES, text)
    assert held <= 17_000
    assert read_pieces(BUILDS["hermes"](), [text]) == [Content(text)]


def test_an_answer_that_makes_readings_fail_again_and_again_is_read_in_linear_time() -> None:
    text = '<tool_call>{"arguments": [' * 3_000
    _, reread = read_watched(HERMES, text)
    assert reread <= 40 * len(text)


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    )
)
def test_a_python_literal_becomes_the_json_of_its_value(value: object) -> None:
    text = f"[search(q={value!r})]"
    events = read_pieces(BUILDS["pythonic"](), text)
    arguments = "".join(event.text for event in events if isinstance(event, CallArguments))
    assert json.loads(arguments) == {"q": value}


KEYWORDS = ["type", "properties", "required", "$ref", "$defs", "anyOf", "enum", "const", "items", "a", "q", "minLength"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10) | st.sampled_from(["string", "object", "#/$defs/a", "#", "q", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=12,
)


@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=5), is_strict=st.booleans())
def test_no_schema_stops_a_parser_or_the_writing_of_a_grammar(schema: dict[str, object], is_strict: bool) -> None:
    tool = Tool("search", parameters=schema, strict=is_strict)
    read_pieces(QWEN_XML.build_parser([tool]), "<function=search><parameter=q>1</parameter></function>")
    formats: list[Format] = [HARMONY, *(TaggedFormat(form, THINK) for form in TOOL_FORMATS)]
    for form in formats:
        assert form.build_grammar(Turn([], ToolUse([tool], "required")), "", {})
