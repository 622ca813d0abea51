"""`POST /tokenize` and `/detokenize`, in vLLM's shapes: a prompt's tokens as a completion or a chat would have them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BeforeValidator, Field, model_validator

from pagoda_server.dialog.turn import ToolUse, Turn
from pagoda_server.http.chat_form import find_form
from pagoda_server.http.dialog_fields import check_template_options
from pagoda_server.http.errors import RequestError
from pagoda_server.http.fields import AsksForNothing, never, only
from pagoda_server.http.messages import Message, Messages
from pagoda_server.http.numbers import TokenId, as_ints
from pagoda_server.http.strict import Strict
from pagoda_server.http.tool_schemas import Tools, check_tools
from pagoda_server.http.turns import Conversations, Fit, Params
from pagoda_server.text.tokenizer import Tokenizer


class TokenizeRequest(Strict):
    unbuilt: ClassVar[Mapping[str, AsksForNothing]] = {
        "chat_template": never,
        "media_io_kwargs": only({}),
        "mm_processor_kwargs": only({}),
    }
    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    add_special_tokens: bool | None = None
    """Left out: a prompt has them, a chat has those of its template."""
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    tools: Tools | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_one(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise RequestError("give exactly one of prompt and messages", param="prompt")
        return self


class DetokenizeRequest(Strict):
    model: str | None = None
    tokens: Annotated[list[TokenId], Field(fail_fast=True), BeforeValidator(as_ints)]


def tokenize(
    tokenizer: Tokenizer, conversations: Conversations, body: TokenizeRequest, *, max_model_len: int | None
) -> bytes:
    """Returns the answer's JSON. Raises `RequestError`."""
    if body.messages is None:
        token_ids = tokenizer.encode(body.prompt or "", add_special_tokens=body.add_special_tokens is not False)
    else:
        token_ids = _encode(conversations, body, body.messages)
    strings = [tokenizer.raw.id_to_token(token_id) for token_id in token_ids] if body.return_token_strs else None
    answer = {"count": len(token_ids), "max_model_len": max_model_len, "tokens": token_ids, "token_strs": strings}
    return orjson.dumps(answer)


def detokenize(tokenizer: Tokenizer, body: DetokenizeRequest, *, vocab_size: int) -> bytes:
    """Returns the answer's JSON, with special tokens by their names. Raises `RequestError`.

    NB: a model may have more tokens than its tokenizer has texts; the rest are nothing.
    """
    largest = max(vocab_size, tokenizer.raw.get_vocab_size()) - 1
    if (worst := max(body.tokens, default=0)) > largest:
        raise RequestError(
            f"tokens has token id {worst}; the largest is {largest}", param="tokens", code="invalid_value"
        )
    return orjson.dumps({"prompt": tokenizer.decode(body.tokens, skip_special_tokens=False)})


def _encode(conversations: Conversations, body: TokenizeRequest, messages: Sequence[Message]) -> list[int]:
    form = find_form(
        messages,
        add_generation_prompt=body.add_generation_prompt,
        continue_final_message=body.continue_final_message,
        add_special_tokens=body.add_special_tokens,
    )
    tools = [one.function.build() for one in body.tools or ()]
    check_tools(tools, "tools")
    options = body.chat_template_kwargs or {}
    check_template_options(options)
    turn = Turn(
        messages=[message.for_template() for message in messages],
        tool_use=ToolUse(tools),
        template_options=options,
        continues_last=form.continues_last,
        add_generation_prompt=form.add_generation_prompt,
    )
    return conversations.encode(turn, Params(), Fit(add_special_tokens=form.add_special_tokens)).token_ids
