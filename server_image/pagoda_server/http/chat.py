"""`POST /v1/chat/completions`: messages through the model's template, answers as messages."""

from dataclasses import replace
from typing import Any

from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.messages import Message
from pagoda_server.http.shapes import Envelope, chat_logprobs
from pagoda_server.text.tokenizer import PromptTooLong, TemplateError, Tokenizer


def encode_messages(tokenizer: Tokenizer, messages: list[Message], *, limit: int | None = None) -> list[int]:
    """Returns the token ids of the messages, as the model's template renders them. Raises `RequestError`."""
    try:
        return tokenizer.encode_chat([message.for_template() for message in messages], limit=limit)
    except PromptTooLong as error:
        raise prompt_too_long(error.at_least, error.limit, "messages") from error
    except TemplateError as error:
        raise RequestError(str(error), param="messages") from error


def build_dialect(tokenizer: Tokenizer, model: str, *, logprobs: bool) -> Dialect:
    def part(piece: Piece, name: str, value: dict[str, Any]) -> dict[str, Any]:
        scored = chat_logprobs(tokenizer, piece.tokens) if logprobs else None
        return {"index": piece.index, name: value, "logprobs": scored, "finish_reason": piece.finish_reason}

    whole = Envelope("chat.completion", "chatcmpl", model)
    return Dialect(
        whole=whole,
        chunk=replace(whole, kind="chat.completion.chunk"),
        build_choice=lambda p: part(p, "message", {"role": "assistant", "content": p.text, "refusal": None}),
        build_chunk=lambda p: part(p, "delta", {"content": p.text} if p.text else {}),
        build_start=lambda index: {
            "index": index,
            "delta": {"role": "assistant", "content": ""},
            "logprobs": None,
            "finish_reason": None,
        },
        scored=logprobs,
    )
