"""Reasoning between tags, and where an answer starts in it."""

import pytest

from pagoda_server.dialog.events import Content, Event, Reasoning
from pagoda_server.dialog.reasoning import GEMMA, MAGISTRAL, SEED, THINK, ReasoningFormat, State
from tests.doubles.answers import read_pieces

ANSWERS: list[tuple[ReasoningFormat, State, str, list[Event]]] = [
    (THINK, "before", "<think>\nHm.\n</think>\n\nHi.", [Reasoning("Hm."), Content("Hi.")]),
    (THINK, "before", "\n<think>\n\n</think>\n\nHi.", [Content("Hi.")]),
    (THINK, "before", "Hi.", [Content("Hi.")]),
    (THINK, "before", " Use <think> and </think>.\n", [Content(" Use <think> and </think>.\n")]),
    (THINK, "before", "<think>Hm, </thin", [Reasoning("Hm, </thin")]),
    (THINK, "before", "<thi", [Content("<thi")]),
    (THINK, "inside", "\nHm.\n\nSo.</think>Hi. </think>", [Reasoning("Hm.\n\nSo."), Content("Hi. </think>")]),
    (THINK, "inside", "<think>\nHm.</think>Hi.", [Reasoning("Hm."), Content("Hi.")]),
    (THINK, "inside", "Hm.", [Reasoning("Hm.")]),
    (THINK, "after", "<think>Hi.", [Content("<think>Hi.")]),
    (SEED, "before", "<seed:think>Hm.</seed:think>Hi.", [Reasoning("Hm."), Content("Hi.")]),
    (
        MAGISTRAL,
        "before",
        "[THINK]Hm.[/THINK]Hi. [THINK]Oh.[/THINK] Bye.",
        [Reasoning("Hm."), Content("Hi."), Reasoning("Oh."), Content("Bye.")],
    ),
    (GEMMA, "before", "<|channel>thought\nHm.\n<channel|>Hi.", [Reasoning("Hm."), Content("Hi.")]),
    (GEMMA, "after", "Hi.", [Content("Hi.")]),
]


@pytest.mark.parametrize(("form", "state", "text", "expected"), ANSWERS)
def test_reasoning_is_split_off_wherever_the_text_is_cut(
    form: ReasoningFormat, state: State, text: str, expected: list[Event]
) -> None:
    assert read_pieces(form.build_parser(state), [text]) == expected
    assert read_pieces(form.build_parser(state), text) == expected
    for at in range(1, len(text)):
        assert read_pieces(form.build_parser(state), [text[:at], text[at:]]) == expected, text[:at]


def test_a_call_ends_reasoning_that_its_model_forgot_to_end() -> None:
    parser = THINK.build_parser("inside", ["<tool_call>"])
    assert read_pieces(parser, "I call it.\n<tool_call>{}") == [Reasoning("I call it."), Content("<tool_call>{}")]


@pytest.mark.parametrize(
    ("form", "prompt", "state"),
    [
        (THINK, "<|im_start|>assistant\n", "before"),
        (THINK, "<|im_start|>assistant\n<think>\n", "inside"),
        (THINK, "<|im_start|>assistant\n<think>\n\n</think>\n\n", "after"),
        (THINK, "user: what is <think>?\nassistant:", "before"),
        (GEMMA, "<|turn>model\n", "before"),
        (GEMMA, "<|turn>model\n<|channel>thought\n", "inside"),
        (GEMMA, "<|turn>model\n<|channel>thought\n<channel|>", "after"),
    ],
)
def test_the_prompt_says_where_the_answer_starts(form: ReasoningFormat, prompt: str, state: State) -> None:
    assert form.find_state(prompt) == state


@pytest.mark.parametrize(
    ("prefix", "state"), [("The answer is", "after"), ("<think>I", "inside"), ("<think>I</think>It", "after")]
)
def test_an_answer_that_goes_on_starts_where_its_beginning_left_off(prefix: str, state: State) -> None:
    assert THINK.find_state("assistant\n" + prefix, prefix) == state


def test_only_blanks_next_to_tags_are_taken_off_and_only_so_many() -> None:
    blanks = "\n" * 300
    assert read_pieces(THINK.build_parser("inside"), f"a \n b{blanks}</think>c\n") == [
        Reasoning(f"a \n b{blanks}"),
        Content("c\n"),
    ]
