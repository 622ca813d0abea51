"""gpt-oss: messages of channels."""

import pytest

from pagoda_server.dialog.events import CallArguments, CallBegun, Content, Event, Reasoning
from pagoda_server.dialog.formats.harmony import HARMONY
from tests.doubles.answers import TOOLS, read_pieces

PROMPT = "<|start|>assistant"
NEXT = "<|end|><|start|>assistant"
OSLO = '{"city": "Oslo"}'
CALL: list[Event] = [CallBegun(0, "get_weather"), CallArguments(0, OSLO)]
ANALYSIS = "<|channel|>analysis<|message|>"
FINAL = "<|channel|>final<|message|>"
ANSWERS = [
    (f"{ANALYSIS}Hm.{NEXT}{FINAL}Hi.<|return|>", [Reasoning("Hm."), Content("Hi.")]),
    (f"{ANALYSIS}Hm.{NEXT}{FINAL}Hi.\n", [Reasoning("Hm."), Content("Hi.\n")]),
    (
        f"{ANALYSIS}Hm.{NEXT}<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{OSLO}<|call|>",
        [Reasoning("Hm."), *CALL],
    ),
    (f"<|channel|>commentary to=functions.get_weather<|channel|>commentary json<|message|>{OSLO}", CALL),
    (f" to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{OSLO}<|call|>", CALL),
    (f"<|channel|>analysis to=functions.get_weather code<|message|>{OSLO}<|call|>", CALL),
    (
        "<|channel|>commentary to=functions.get_time<|message|><|call|>",
        [CallBegun(0, "get_time"), CallArguments(0, "{}")],
    ),
    (
        f"<|channel|>commentary<|message|>Let me look.{NEXT}<|channel|>commentary to=functions.get_weather "
        f"<|constrain|>json<|message|>{OSLO}<|call|>",
        [Content("Let me look."), *CALL],
    ),
    (f"{ANALYSIS}One.{NEXT}{ANALYSIS}Two.{NEXT}{FINAL}Hi.", [Reasoning("One.\n\nTwo."), Content("Hi.")]),
    (f"{ANALYSIS}One.{FINAL}Hi.", [Reasoning("One."), Content("Hi.")]),
    ("Just text.", [Content("Just text.")]),
    ("<|channel|>no message", [Content("<|channel|>no message")]),
    (f"{ANALYSIS}Hm", [Reasoning("Hm")]),
]


@pytest.mark.parametrize(("text", "expected"), ANSWERS)
def test_messages_are_read_wherever_their_text_is_cut(text: str, expected: list[Event]) -> None:
    assert read_pieces(HARMONY.build_parser(TOOLS, PROMPT), [text]) == expected
    assert read_pieces(HARMONY.build_parser(TOOLS, PROMPT), text) == expected
    for at in range(1, len(text)):
        assert read_pieces(HARMONY.build_parser(TOOLS, PROMPT), [text[:at], text[at:]]) == expected, text[:at]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (f"<|start|>user<|message|>Hi<|end|><|start|>assistant{FINAL}It ", [Content("is.")]),
        (f"<|start|>user<|message|>Hi<|end|><|start|>assistant{ANALYSIS}It ", [Reasoning("is.")]),
        ("<|start|>user<|message|>Hi<|end|><|start|>assistant", [Content("is.")]),
    ],
)
def test_an_answer_goes_on_in_the_message_that_the_prompt_has_begun(prompt: str, expected: list[Event]) -> None:
    assert read_pieces(HARMONY.build_parser(TOOLS, prompt), "is.") == expected


def test_an_answer_goes_on_in_a_message_that_began_long_ago() -> None:
    parser = HARMONY.build_parser(TOOLS, "the end of a long text ", prefix="It was the end of a long text ")
    assert read_pieces(parser, "is.<|return|>") == [Content("is.")]
