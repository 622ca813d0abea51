"""From the body of a request for a message to what is run, and to the shape of its answer."""

from functools import partial

from pagoda_server.dialog.turn import Turn
from pagoda_server.http.anthropic.content import build_messages
from pagoda_server.http.anthropic.schemas import CountRequest, MessageRequest
from pagoda_server.http.anthropic.shape import MessageShape
from pagoda_server.http.dialog_answer import Dialog, Wishes
from pagoda_server.http.schemas import parse
from pagoda_server.http.turns import Params

PARAMS = Params(effort="thinking", is_effort_a_hint=True)


def read_dialog(raw: bytes) -> Dialog:
    """Returns what the body asks for. Raises `RequestError`."""
    body = parse(MessageRequest, raw)
    wishes = Wishes.model_construct(
        model=body.model,
        max_tokens=body.max_tokens,
        stream=body.stream,
        stop=body.stop_sequences,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
    )
    return Dialog(build_turn(body), PARAMS, wishes, partial(MessageShape, body.model), body.answer_form)


def read_count(raw: bytes) -> tuple[str, Turn]:
    """Returns the model and the turn whose tokens are to be counted. Raises `RequestError`."""
    body = parse(CountRequest, raw)
    return body.model, build_turn(body)


def build_turn(body: CountRequest) -> Turn:
    messages = build_messages(body.messages, body.system)
    return Turn(
        messages=messages,
        tool_use=body.build_tool_use(),
        thinking=body.wish,
        continues_last=messages[-1]["role"] == "assistant" and not messages[-1].get("tool_calls"),
    )
