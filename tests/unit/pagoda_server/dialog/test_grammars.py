"""Grammars of calls compile, and whatever they let a model write is read as calls whose arguments validate."""

import json
import random
from collections.abc import Mapping, Sequence

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning
from pagoda_server.dialog.format import Format, TaggedFormat
from pagoda_server.dialog.formats.harmony import HARMONY
from pagoda_server.dialog.formats.mistral import MISTRAL
from pagoda_server.dialog.formats.table import TOOL_FORMATS
from pagoda_server.dialog.formats.tool_format import ToolFormat
from pagoda_server.dialog.reasoning import GEMMA, THINK
from pagoda_server.dialog.turn import AnswerFormat, ChoiceFormat, JsonFormat, RegexFormat, Thinking, Tool, ToolUse, Turn
from tests.doubles.answers import TIME, WEATHER, ByteTokenizer, join_text, read_pieces

ORDER = Tool(
    "place_order",
    parameters={
        "type": "object",
        "properties": {
            "size": {"type": "string", "enum": ["small", "large"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 9},
            "gift": {"type": "boolean"},
            "code": {"type": "string", "minLength": 2, "maxLength": 4},
            "sku": {"type": "string", "pattern": "^[A-Z]{2}/[0-9]+$"},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            "address": {"$ref": "#/$defs/Address"},
        },
        "required": ["count", "address"],
        "additionalProperties": False,
        "$defs": {
            "Address": {
                "type": "object",
                "properties": {"street": {"type": "string"}, "number": {"type": "integer"}},
                "required": ["street"],
                "additionalProperties": False,
            }
        },
    },
    strict=True,
)
PLAN = Tool(
    "plan",
    parameters={
        "type": "object",
        "properties": {
            "first": {"$ref": "#/$defs/Step"},
            "place": {"anyOf": [{"type": "integer"}, {"type": "string", "enum": ["x", "y"]}]},
            "anything": {},
            "rate": {"type": "number"},
            "always": {"const": "so"},
        },
        "required": ["first", "anything"],
        "additionalProperties": False,
        "$defs": {
            "Step": {
                "type": "object",
                "properties": {
                    "seconds": {"type": "integer"},
                    "next": {"anyOf": [{"$ref": "#/$defs/Step"}, {"type": "null"}]},
                },
                "required": ["seconds"],
                "additionalProperties": False,
            }
        },
    },
    strict=True,
)
TOOLS = (WEATHER, TIME, ORDER, PLAN)
ENDS = ["</think>", "</parameter>", "</｜DSML｜parameter>", "</arg_value>", '"}', '"', "}", '<|"|>', "<escape>"]
PARTS = [*ENDS, "\n</parameter>\n", "Oslo", "12", ",", "true", "small", " "]
CLOSING = {"<eos>", *ENDS, "]", "<|end|>", "<channel|>"}
FORMATS: Sequence[Format] = (HARMONY, *(TaggedFormat(form, THINK) for form in TOOL_FORMATS))
NAMES = [HARMONY.name, *(form.name for form in TOOL_FORMATS)]


A_NUMBER = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}


class Model:
    """Writes at random what a grammar allows; it likes to come to an end, and no text of it spells a special token."""

    def __init__(self, special: Sequence[str] = ()) -> None:
        self.double = ByteTokenizer(PARTS, special)
        self._tokenizer = self.double.build()
        texts = [token.decode(errors="replace") for token in self.double.tokens]
        weights = [400.0 if text in CLOSING else 20.0 if text in PARTS else 1.0 for text in texts]
        is_odd = [len(text) == 1 and text != "\n" and not (text.isascii() and text.isprintable()) for text in texts]
        spells_special = [text in special and at < self.double.eos_token_id for at, text in enumerate(texts)]
        self._weights = np.where(np.logical_or(is_odd, spells_special), 0.0, weights)

    @property
    def special_ids(self) -> Mapping[str, int]:
        return self.double.special_ids

    def match(self, grammar: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    def write(self, grammar: str, seed: int, *, max_tokens: int = 600) -> str | None:
        """Returns an answer, None where it came to no end."""
        matcher = self.match(grammar)
        rng, written = random.Random(seed), b""
        for _ in range(max_tokens):
            allowed = self.list_allowed(matcher)
            weights = self._weights[allowed]
            token = int(allowed[0]) if not weights.sum() else rng.choices(allowed.tolist(), weights.tolist())[0]
            if token == self.double.eos_token_id:
                return written.decode()
            assert matcher.consume_token(token), matcher.get_error()
            written += self.double.tokens[token]
        return None

    def list_allowed(self, matcher: LLMatcher) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        return np.flatnonzero(bits[: len(self.double.tokens)])

    def accepts(self, grammar: str, text: str) -> bool:
        matcher = self.match(grammar)
        return bool(matcher.consume_tokens(self._split(text)) and matcher.is_accepting())

    def _split(self, text: str) -> list[int]:
        tokens: list[int] = []
        at = 0
        while at < len(text):
            special = next((s for s in sorted(self.special_ids, key=len, reverse=True) if text.startswith(s, at)), None)
            tokens += [self.special_ids[special]] if special else text[at].encode()
            at += len(special or text[at])
        return tokens


PLAIN = Model()
SPECIAL = Model(sorted({mark for form in (*TOOL_FORMATS, HARMONY, THINK, GEMMA) for mark in form.markers}))
MODELS = {"marks as text": PLAIN, "marks as special tokens": SPECIAL}
PAIRS = {
    f"{name}, {marks}": (form, model)
    for name, form in zip(NAMES, FORMATS, strict=True)
    for marks, model in MODELS.items()
    if form is not HARMONY or model is SPECIAL
}
"""Harmony has no marks but tokens."""
EXAMPLES = {HARMONY.name: HARMONY.example, **{form.name: form.example for form in TOOL_FORMATS}}
NEEDS_TOKENS = {HARMONY.name, MISTRAL.name}
"""Without tokens for its marks, Mistral's grammar is that of the older tokenizers."""


def gather_calls(events: Sequence[Event]) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    for event in events:
        if isinstance(event, CallBegun):
            calls.append((event.name, ""))
        elif isinstance(event, CallArguments):
            calls[-1] = (calls[-1][0], calls[-1][1] + event.text)
    return calls


def check_calls(events: Sequence[Event], text: str) -> list[str]:
    """Asserts that all calls are valid. Returns their names."""
    calls = gather_calls(events)
    for name, arguments in calls:
        tool = next(tool for tool in TOOLS if tool.name == name)
        jsonschema.validate(json.loads(arguments), tool.parameters)
        assert not join_text(events, Content).strip(), text
    return [name for name, _ in calls]


def write_and_read(model: Model, form: Format, turn: Turn, prompt: str = "") -> list[tuple[str, list[Event]]]:
    grammar = form.build_grammar(turn, prompt, model.special_ids)
    assert grammar
    texts = [text for seed in range(8) if (text := model.write(grammar, seed)) is not None]
    assert len(texts) >= 3, "most come to an end"
    return [(text, read_pieces(form.build_parser(TOOLS, prompt), text)) for text in texts]


@pytest.mark.parametrize(("form", "model"), PAIRS.values(), ids=PAIRS)
def test_required_calls_validate(form: Format, model: Model) -> None:
    turn = Turn([], ToolUse(TOOLS, "required"))
    for text, events in write_and_read(model, form, turn):
        assert check_calls(events, text), text


@pytest.mark.parametrize(("form", "model"), PAIRS.values(), ids=PAIRS)
def test_the_one_function_that_is_named_is_called_once(form: Format, model: Model) -> None:
    turn = Turn([], ToolUse(TOOLS, "required", name=ORDER.name, parallel=False))
    for text, events in write_and_read(model, form, turn):
        assert check_calls(events, text) == [ORDER.name], text


@pytest.mark.parametrize(("form", "model"), PAIRS.values(), ids=PAIRS)
def test_strict_tools_leave_text_free_but_calls_validate(form: Format, model: Model) -> None:
    turn = Turn([], ToolUse(TOOLS))
    for text, events in write_and_read(model, form, turn):
        check_calls(events, text)


@pytest.mark.parametrize(("name", "form"), list(zip(NAMES, FORMATS, strict=True)), ids=NAMES)
def test_strict_tools_take_text_and_the_example_of_the_notation(name: str, form: Format) -> None:
    for model in MODELS.values() if name not in NEEDS_TOKENS else [SPECIAL]:
        grammar = form.build_grammar(Turn([], ToolUse(TOOLS)), "", model.special_ids)
        assert grammar
        assert model.accepts(grammar, EXAMPLES[name]), EXAMPLES[name]
        text = "Hello, how are you?\nFine."
        assert model.accepts(grammar, text if name != HARMONY.name else f"<|channel|>final<|message|>{text}")


@pytest.mark.parametrize("form", FORMATS, ids=NAMES)
def test_nothing_is_constrained_that_nobody_asked_for(form: Format) -> None:
    plain = Tool("f")
    assert form.build_grammar(Turn([]), "", {}) is None
    assert form.build_grammar(Turn([], ToolUse([plain])), "", {}) is None
    assert form.build_grammar(Turn([], ToolUse([ORDER], "none")), "", {}) is None
    assert form.build_grammar(Turn([], thinking=Thinking("high")), "<think>", {}) is None
    if form is not HARMONY:
        assert form.build_grammar(Turn([], thinking=Thinking("none")), "<think>\n\n</think>\n\n", {}) is None


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("prompt", ["assistant\n<think>\n", "assistant\n"])
@pytest.mark.parametrize("budget", [0, 5])
def test_reasoning_ends_within_its_budget(model: Model, prompt: str, budget: int) -> None:
    form = TaggedFormat(None, THINK)
    turn = Turn([], thinking=Thinking(budget_tokens=budget))
    seen = 0
    for text, events in write_and_read(model, form, turn, prompt):
        reasoning = join_text(events, Reasoning)
        assert len(model.double("".join(reasoning))) <= budget * max(map(len, PARTS)), text
        seen += "</think>" in text
    assert seen or prompt == "assistant\n"
    grammar = form.build_grammar(turn, prompt, model.special_ids)
    assert grammar
    begin = "" if prompt.endswith("<think>\n") else "<think>"
    assert not model.accepts(grammar, f"{begin}{'x' * (budget + 1)}</think>Hi.")
    if budget or not begin:
        assert model.accepts(grammar, f"{begin}{'x' * budget}</think>\n\nHi. <b>")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_answer_behind_the_reasoning_has_the_form_that_is_asked_for(model: Model) -> None:
    form = TaggedFormat(None, THINK)
    cases: list[tuple[AnswerFormat, str, str]] = [
        (JsonFormat(A_NUMBER), '{"a": 1}', '{"a": "1"}'),
        (JsonFormat(), '{"x": [1]}', "[1]"),
        (RegexFormat(r"\d+/\d+"), "1/23", "1/"),
        (ChoiceFormat(["yes", "no"]), "yes", "maybe"),
    ]
    for answer_format, good, bad in cases:
        grammar = form.build_grammar(Turn([], answer_format=answer_format), "<think>", model.special_ids)
        assert grammar
        assert model.accepts(grammar, f"Hm.\n</think>\n\n{good}")
        assert not model.accepts(grammar, f"Hm.\n</think>\n\n{bad}")


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_blanks_are_no_part_of_a_form_where_no_reasoning_stands_before_them(model: Model) -> None:
    grammar = TaggedFormat(None, THINK).build_grammar(
        Turn([], answer_format=RegexFormat(r"\d+")), "", model.special_ids
    )
    assert grammar
    assert model.accepts(grammar, "12") and model.accepts(grammar, "<think>Hm.</think>\n\n12")
    assert not model.accepts(grammar, "\n\n12")


@pytest.mark.parametrize("form", TOOL_FORMATS, ids=lambda form: form.name)
def test_with_a_form_and_tools_the_answer_is_either(form: ToolFormat) -> None:
    grammar = TaggedFormat(form, None).build_grammar(
        Turn([], ToolUse([WEATHER]), JsonFormat(A_NUMBER)), "", SPECIAL.special_ids
    )
    assert grammar
    assert SPECIAL.accepts(grammar, '{"a": 1}')
    assert SPECIAL.accepts(grammar, form.example)
    assert not SPECIAL.accepts(grammar, "Hello")


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [("^a+$", "aa", "ab"), ("b/", "ab/c", "abc"), ("^x", "xy", "yx"), ("x$", "yx", "xy"), (r"^\d{2}\$$", "12$", "12")],
)
def test_a_pattern_is_held_outside_of_quotes_too(pattern: str, good: str, bad: str) -> None:
    tool = Tool("f", parameters={"properties": {"k": {"pattern": pattern, "type": "string"}}}, strict=True)
    for marks, model in MODELS.items():
        grammar = PAIRS[f"glm45, {marks}"][0].build_grammar(
            Turn([], ToolUse([tool], "required")), "", model.special_ids
        )
        assert grammar
        text = "<tool_call>f<arg_key>k</arg_key><arg_value>{}</arg_value></tool_call>"
        assert model.accepts(grammar, text.format(good)), good
        assert not model.accepts(grammar, text.format(bad)), bad


def test_a_schema_that_was_prepared_keeps_its_options() -> None:
    compact = {**A_NUMBER, "x-guidance": {"whitespace_flexible": False}}
    form = TaggedFormat(None, THINK)
    for schema, takes_blanks in [(A_NUMBER, True), (compact, False)]:
        grammar = form.build_grammar(Turn([], answer_format=JsonFormat(schema)), "<think>", PLAIN.special_ids)
        assert grammar
        assert PLAIN.accepts(grammar, '</think>{"a":1}')
        assert PLAIN.accepts(grammar, '</think>{ "a": 1 }') is takes_blanks


def test_what_a_client_writes_is_never_a_token() -> None:
    tool = Tool("f", parameters={"properties": {"<think>": {"enum": ["</think>", "<eos>"]}}}, strict=True)
    for name, form in zip(NAMES, FORMATS, strict=True):
        grammar = form.build_grammar(Turn([], ToolUse([tool], "required")), "", SPECIAL.special_ids)
        assert grammar
        assert str(SPECIAL.special_ids["<eos>"]) not in grammar.replace("<[", " ").replace("]>", " ").split(), name


def test_a_form_of_text_is_held_between_calls_and_reasoning() -> None:
    form = TaggedFormat(TOOL_FORMATS[-1], THINK)
    turn = Turn([], ToolUse([ORDER]), thinking=Thinking(budget_tokens=2))
    grammar = form.build_grammar(turn, "", PLAIN.special_ids)
    assert grammar
    assert PLAIN.accepts(grammar, "<think>ab</think>Hello")
    assert PLAIN.accepts(grammar, "Hello <think>")
    assert not PLAIN.accepts(grammar, "<think>abc</think>Hello")


def test_a_grammar_of_many_tools_compiles() -> None:
    tools = [Tool(f"tool_{at}", parameters=ORDER.parameters, strict=True) for at in range(128)]
    for form in FORMATS:
        grammar = form.build_grammar(Turn([], ToolUse(tools, "required")), "", SPECIAL.special_ids)
        assert grammar
        assert SPECIAL.list_allowed(SPECIAL.match(grammar)).size
