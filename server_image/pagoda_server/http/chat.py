"""`POST /v1/chat/completions`: messages through the model's template, answers as messages."""

from dataclasses import replace
from typing import Any

from pagoda_server.http.chat_form import ChatForm
from pagoda_server.http.choice import Piece
from pagoda_server.http.chunks import Dialect
from pagoda_server.http.errors import RequestError, prompt_too_long
from pagoda_server.http.logprobs import chat_logprobs
from pagoda_server.http.messages import Message
from pagoda_server.http.shapes import Envelope
from pagoda_server.text.tokenizer import PromptTooLong, TemplateError, Tokenizer


def check_documents(tokenizer: Tokenizer, form: ChatForm) -> None:
    if form.documents and "documents" not in tokenizer.template.variables:
        raise RequestError(
            "documents is given, but this model's template takes none; put their text into a message",
            param="documents",
            code="unsupported_parameter",
        )


def encode_messages(
    tokenizer: Tokenizer,
    messages: list[Message],
    form: ChatForm,
    *,
    limit: int | None = None,
    keep_last: int | None = None,
) -> list[int]:
    """Returns the token ids of the messages, as the model's template renders them. Raises `RequestError`."""
    check_documents(tokenizer, form)
    try:
        return tokenizer.encode_chat(
            [message.for_template() for message in messages],
            {"add_generation_prompt": form.add_generation_prompt, "documents": list(form.documents) or None},
            limit=limit if keep_last is None else None,
            keep_last=keep_last,
            continues_last=form.continues_last,
            add_special_tokens=form.add_special_tokens,
        )
    except PromptTooLong as error:
        raise prompt_too_long(error.at_least, error.limit, "messages") from error
    except TemplateError as error:
        raise RequestError(str(error), param="messages") from error


def build_dialect(
    tokenizer: Tokenizer, model: str, *, logprobs: bool, as_ids: bool = False, answer_id: str | None = None
) -> Dialect:
    def part(piece: Piece, name: str, value: dict[str, Any]) -> dict[str, Any]:
        scored = chat_logprobs(tokenizer, piece.tokens, as_ids=as_ids) if logprobs else None
        return {"index": piece.index, name: value, "logprobs": scored, "finish_reason": piece.finish_reason}

    whole = Envelope.open("chat.completion", "chatcmpl", model, answer_id)
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
