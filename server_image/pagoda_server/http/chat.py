"""`POST /v1/chat/completions`: a conversation in, its next message out."""

from dataclasses import replace
from typing import Any

from pagoda_server.dialog.events import CallBegun
from pagoda_server.dialog.turn import Turn
from pagoda_server.http.chat_answers import PLAIN_STYLE, ChatDeltas, ChatStyle, build_message
from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.logprobs import chat_logprobs
from pagoda_server.http.schemas import ChatRequest
from pagoda_server.http.shapes import Envelope
from pagoda_server.http.turns import Params
from pagoda_server.text.tokenizer import Tokenizer

PARAMS = Params()
OLD_PARAMS = Params(tools="functions")


def build_turn(body: ChatRequest) -> Turn:
    """Returns the turn that the request asks for. Raises `RequestError`."""
    return Turn(
        messages=[message.for_template() for message in body.messages],
        tool_use=body.build_tool_use(),
        thinking=body.thinking,
        template_options=body.chat_template_kwargs or {},
        documents=body.documents or (),
        continues_last=body.form.continues_last,
        add_generation_prompt=body.form.add_generation_prompt,
    )


def build_style(body: ChatRequest) -> ChatStyle:
    return ChatStyle(has_old_calls=body.has_old_spelling, shows_reasoning=body.include_reasoning is not False)


def build_dialect(
    tokenizer: Tokenizer,
    model: str,
    *,
    logprobs: bool,
    as_ids: bool = False,
    answer_id: str | None = None,
    style: ChatStyle = PLAIN_STYLE,
) -> Dialect:
    def score(piece: Piece) -> dict[str, Any] | None:
        return chat_logprobs(tokenizer, piece.tokens, as_ids=as_ids) if logprobs else None

    def part(piece: Piece, name: str, value: dict[str, Any]) -> dict[str, Any]:
        return {"index": piece.index, name: value, "logprobs": score(piece), "finish_reason": piece.finish_reason}

    def build_choice(piece: Piece) -> dict[str, Any]:
        if piece.events is None:
            return part(piece, "message", {"role": "assistant", "content": piece.text, "refusal": None})
        has_calls = any(isinstance(event, CallBegun) for event in piece.events)
        reason = style.name_reason(piece.finish_reason, has_calls=has_calls)
        return {**part(piece, "message", build_message(piece.events, style)), "finish_reason": reason}

    whole = Envelope.open("chat.completion", "chatcmpl", model, answer_id)
    return Dialect(
        whole=whole,
        chunk=replace(whole, kind="chat.completion.chunk"),
        build_choice=build_choice,
        build_chunk=lambda p: part(p, "delta", {"content": p.text} if p.text else {}),
        build_start=lambda index: {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        },
        build_deltas=lambda index: ChatDeltas(index, style, score),
        scored=logprobs,
    )
