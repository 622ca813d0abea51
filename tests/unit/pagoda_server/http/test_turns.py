"""Whether an answer that is held to a form may begin with reasoning is the template's to say."""

from pathlib import Path
from typing import Any

import pytest

from pagoda_server.dialog.turn import JsonFormat, Thinking, Turn
from pagoda_server.grammar.build import JsonOptions
from pagoda_server.http.answer_form import AnswerForm
from pagoda_server.http.turns import Conversations, Fit, Params
from pagoda_server.text.tokenizer import read_tokenizer

BUNDLED = Path(__file__).parents[4] / "server_image/sample_model/pagoda-tiny"
OFF, ON = {"enable_thinking": False}, {"enable_thinking": True}


@pytest.mark.parametrize(
    ("options", "thinking", "may_reason"),
    [
        ({}, Thinking(), False),
        (OFF, Thinking(), False),
        ({}, Thinking(effort="none"), False),
        (ON, Thinking(), True),
        ({}, Thinking(effort="high"), True),
    ],
)
def test_a_model_whose_template_has_it_rest_unasked_begins_a_form_at_once(
    options: dict[str, Any], thinking: Thinking, may_reason: bool
) -> None:
    asked = AnswerForm("response_format", JsonFormat({"type": "integer"}), JsonOptions())
    messages = [{"role": "user", "content": "How many?"}]
    turn = Turn(messages, answer_format=asked.answer_format, thinking=thinking, template_options=options)
    tokenizer = read_tokenizer(BUNDLED)
    grammar = Conversations(tokenizer).encode(turn, Params(), Fit(), asked).grammar
    assert grammar is not None
    assert (f"<[{tokenizer.raw.token_to_id('<think>')}]>" in grammar.text) is may_reason
