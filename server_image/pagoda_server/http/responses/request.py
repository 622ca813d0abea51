"""From the body of a request for a response to what is run, and to the shape of its answer."""

from functools import partial
from typing import Any

from pagoda_server.dialog.turn import Turn
from pagoda_server.http.choice import Piece
from pagoda_server.http.dialog_answer import Dialog, Wishes
from pagoda_server.http.generate import GenerationPlan
from pagoda_server.http.logprobs import chat_logprobs
from pagoda_server.http.responses.items import build_messages
from pagoda_server.http.responses.objects import Envelope
from pagoda_server.http.responses.schemas import ResponseRequest
from pagoda_server.http.responses.shape import ResponseShape
from pagoda_server.http.schemas import parse
from pagoda_server.http.turns import Params
from pagoda_server.text.tokenizer import Tokenizer

PARAMS = Params(messages="input", effort="reasoning.effort")
SAME = (
    *("model", "stream", "temperature", "top_p", "top_k", "min_p", "seed", "logit_bias", "cache_salt"),
    *("stop", "include_stop_str_in_output", "ignore_eos"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
"""The fields that mean the same as in a chat."""


def read_dialog(tokenizer: Tokenizer, raw: bytes) -> Dialog:
    """Returns what the body asks for. Raises `RequestError`."""
    body = parse(ResponseRequest, raw)
    turn = Turn(
        messages=build_messages(body.input, body.instructions),
        tool_use=body.build_tool_use(),
        thinking=body.thinking,
        template_options=body.chat_template_kwargs or {},
    )
    same = {name: getattr(body, name) for name in SAME}
    wishes = Wishes.model_construct(max_tokens=body.max_output_tokens, num_logprobs=body.num_logprobs, **same)
    shape = partial(_build_shape, tokenizer, body)
    return Dialog(turn, PARAMS, wishes, shape, body.answer_form, drops_oldest=body.truncation == "auto")


def _build_shape(tokenizer: Tokenizer, body: ResponseRequest, plan: GenerationPlan) -> ResponseShape:
    def score(piece: Piece) -> list[dict[str, Any]]:
        if body.num_logprobs is None or not piece.tokens:
            return []
        content: list[dict[str, Any]] = chat_logprobs(tokenizer, piece.tokens)["content"]
        return content

    return ResponseShape(Envelope(body), plan, score, shows_reasoning=body.include_reasoning is not False)
